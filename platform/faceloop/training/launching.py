"""torchrun as a process of ours: started, listened to, and never outliving its caller. Needs no torch until it runs."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facestore.errors import StageError

JOB, FAULT = "job.json", "fault-{rank}.txt"
SAID = "faceloop: "  # what a rank writes for people begins so
TORCHRUN_PID = "FACELOOP_TORCHRUN_PID"
LOCAL = ("--standalone", "--local-addr", "127.0.0.1")  # one machine, a port that torchrun itself binds
_PR_SET_PDEATHSIG = 1
_LONGEST_LINE = 400


def end_with_parent(parent: int) -> None:
    """The kernel kills this process when the one that started it ends: no rank is ever left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        raise SystemExit(1)


@dataclass(slots=True)
class Torchrun:
    """One torchrun with its ranks on this machine. `stop` may be called from another thread."""

    process: "subprocess.Popen[str]"
    last: str = field(default="", init=False)  # of what is no message for people

    def listen(self, say: Callable[[str], None]) -> int:
        """Pass on what its ranks say until it ends; its exit code. Whatever interrupts this ends it, with its ranks."""
        with self.process:
            try:
                for line in self.process.stdout or ():
                    if line.startswith(SAID):
                        say(line.removeprefix(SAID).rstrip())
                    elif line.strip():
                        self.last = line.strip()
            except BaseException:
                self.stop()
                raise
        return self.process.returncode

    def stop(self) -> None:
        self.process.kill()  # its ranks end with it


def start_torchrun(folder: Path, ranks: int, where: Sequence[str], *, threads: int, is_local: bool) -> Torchrun:
    """Start `ranks` processes of the training written in `folder`. `where`: options of torchrun, as LOCAL.

    `threads` is the share of one rank. Waiting threads sleep instead of spinning: ranks share their cores. `is_local`
    keeps gloo on the loopback, since the name of a machine may lead nowhere. No restarts: what failed is resumed by
    running the stage again.
    """
    command = [sys.executable, "-m", "faceloop.training.launching", str(os.getpid()), str(folder), str(ranks), *where]
    surroundings = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        **({"GLOO_SOCKET_IFNAME": "lo"} if is_local else {}),
    }
    return Torchrun(
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=surroundings,
            stdin=subprocess.DEVNULL,
        )
    )  # fmt: skip


def run_ranks(folder: Path, ranks: int, say: Callable[[str], None], *, threads: int = 1) -> None:
    """Run the job written in `folder` on `ranks` processes of this machine, which share `threads`, and wait for it.

    Raises StageError with the last line of the rank that failed first.
    """
    forget_faults(folder)
    torchrun = start_torchrun(folder, ranks, LOCAL, threads=threads // ranks, is_local=True)
    if torchrun.listen(say):
        raise StageError(f"train: {first_fault(folder) or silent(torchrun)}")


def forget_faults(folder: Path) -> None:
    for old in folder.glob(FAULT.format(rank="*")):
        old.unlink()


def first_fault(folder: Path) -> str | None:
    """Why the rank that failed first did, where one could still say it."""
    faults = sorted(folder.glob(FAULT.format(rank="*")), key=lambda path: path.stat().st_mtime_ns)
    return faults[0].read_text(encoding="utf-8")[:_LONGEST_LINE] if faults else None


def silent(torchrun: Torchrun) -> str:
    return f"a rank ended without a word; last line: {torchrun.last}"[:_LONGEST_LINE]


def main(arguments: list[str]) -> None:
    """`python -m faceloop.training.launching PARENT FOLDER RANKS …`: become torchrun, on the parent's leash."""
    parent, folder, ranks, *where = arguments
    end_with_parent(int(parent))
    os.environ[TORCHRUN_PID] = str(os.getpid())  # the leash of the ranks
    from torch.distributed import run

    run.main([*where, "--nproc-per-node", ranks, "--max-restarts", "0", "-m", "faceloop.training.one_rank", folder])


def write_job(folder: Path, job: dict[str, object]) -> None:
    (folder / JOB).write_text(json.dumps(job, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

"""A training on several ranks of this machine: torchrun is started, listened to, and never outlives its caller."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from facestore.errors import StageError

JOB, FAULT = "job.json", "fault-{rank}.txt"
SAID = "faceloop: "  # what a rank writes for people begins so
_PR_SET_PDEATHSIG = 1
_LONGEST_LINE = 400


def end_with_parent(parent: int) -> None:
    """The kernel kills this process when the one that started it ends: no rank is ever left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel was told
        raise SystemExit(1)


def run_ranks(folder: Path, ranks: int, say: Callable[[str], None]) -> None:
    """Run the job written in `folder` on `ranks` processes and wait for it.

    One machine, a port that torchrun itself binds, no restarts: what failed is resumed by running the stage again.
    Raises StageError with the last line of the rank that failed first.
    """
    for old in folder.glob(FAULT.format(rank="*")):
        old.unlink()
    command = [sys.executable, "-m", "faceloop.training.launching", str(os.getpid()), str(folder), str(ranks)]
    surroundings = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    surroundings.setdefault("OMP_NUM_THREADS", "1")  # ranks set their own number; torchrun would warn
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=surroundings,
        stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                if line.startswith(SAID):
                    say(line.removeprefix(SAID).rstrip())
                elif line.strip():
                    last = line.strip()
        except BaseException:
            process.kill()  # its ranks end with it
            raise
    if process.returncode == 0:
        return
    faults = sorted(folder.glob(FAULT.format(rank="*")), key=lambda path: path.stat().st_mtime_ns)
    reason = faults[0].read_text(encoding="utf-8") if faults else f"a rank ended without a word; last line: {last}"
    raise StageError(f"train: {reason[:_LONGEST_LINE]}")


def main(arguments: list[str]) -> None:
    """`python -m faceloop.training.launching PARENT FOLDER RANKS`: become torchrun, on the parent's leash."""
    parent, folder, ranks = arguments
    end_with_parent(int(parent))
    from torch.distributed import run

    run.main(
        [
            "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", ranks, "--max-restarts", "0",
            "-m", "faceloop.training.one_rank", folder,
        ]
    )  # fmt: skip


def write_job(folder: Path, job: dict[str, object]) -> None:
    (folder / JOB).write_text(json.dumps(job, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

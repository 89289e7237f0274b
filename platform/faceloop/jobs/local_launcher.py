"""The local launcher: a process of its own session, which the end of whoever submitted the job does not touch."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from faceloop.jobs.launchers import Launch, LauncherName, WorkerCall, job_folder
from facestore.errors import StoreError
from facestore.leases import has_ended, this_process

_FACELOOP = (sys.executable, "-c", "from faceloop.cli import main; main()")


@dataclass(frozen=True, slots=True)
class LocalLauncher:
    """Workers on this machine. `command` is what runs `faceloop`."""

    command: tuple[str, ...] = _FACELOOP

    @property
    def name(self) -> LauncherName:
        return "local"

    def check(self) -> None:
        return

    def start(self, call: WorkerCall) -> Launch:
        log = job_folder(call.root, call.job.job_id) / f"attempt-{call.job.attempt}.log"
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            streams = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ]
            argv = [*self.command, *call.arguments()]
            pid = os.posix_spawn(argv[0], argv, dict(os.environ), file_actions=streams, setsid=True)
        except OSError as error:
            raise StoreError(f"cannot start a worker: {error}; free memory or disk, then submit again") from error
        return Launch(handle=_handle(pid), log=log.relative_to(call.root).as_posix())

    def has_ended(self, handle: str) -> bool:
        return has_ended(handle)

    def stop(self, handle: str) -> None:
        return  # a worker that finds its job cancelled does nothing


def _handle(pid: int) -> str:
    """As `this_process`, of a process that we started."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        started = "gone"
    return f"{this_process().rsplit(':', 2)[0]}:{pid}:{started}"

"""Launchers: what starts a worker for a job. A process here, or a Kubernetes Job there; nobody else needs to know."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from facestore.errors import DataError
from facestore.jobs import Job

LauncherName = Literal["local", "kubernetes"]
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a launcher started."""

    handle: str  # by which it finds it again
    log: str | None  # below the root; None: the cluster keeps it


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCall:
    """How a worker is called, wherever it runs."""

    root: Path
    params: Path  # as they were when the job was submitted
    job: Job

    def arguments(self) -> list[str]:
        """The words after `faceloop`."""
        words = ["jobs", "work", self.job.job_id, "--attempt", str(self.job.attempt)]
        return [*words, "--root", str(self.root), "--params", str(self.params)]


class Launcher(Protocol):
    """Starts workers. Starting one twice does no harm: only one gets the lease."""

    @property
    def name(self) -> LauncherName: ...

    def check(self) -> None:
        """Raises ConfigError, which names all that is missing, before a job is written down."""
        ...

    def start(self, call: WorkerCall) -> Launch:
        """Start a worker that outlives this process. Raises StoreError when it cannot."""
        ...

    def has_ended(self, handle: str) -> bool:
        """Whether what was started is over for certain."""
        ...

    def stop(self, handle: str) -> None:
        """Take away what was started, where the launcher can and the worker cannot do it itself."""
        ...


def job_folder(root: Path, job_id: str) -> Path:
    """Where a job's params, logs and result lie. Raises DataError for what is no id of a job."""
    if _JOB_ID.fullmatch(job_id) is None:
        raise DataError("this is no id of a job; `faceloop jobs list` names them")
    return root / "jobs" / job_id

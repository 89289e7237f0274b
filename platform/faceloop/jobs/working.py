"""work_on: the worker of a job. Holds its lease, runs its program, and publishes the result while it still holds it."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import IO

from faceloop.jobs.launchers import job_folder
from faceloop.jobs.programs import PROGRAMS, RESULT, Order, read_result
from faceloop.jobs.submitting import PARAMS, keep_params, opened_jobs, opened_leases
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.runner import Workspace
from facestore.errors import DataError, StoreError
from facestore.jobs import Job, JobEnd, Jobs, Wish, lease_name
from facestore.leases import Lease, Leases
from facestore.publish import sync_path

_LOOK_S = 0.1  # between looks at the program …
_ASK_S = 1.0  # … and at what people want by now
_GRACE_S = 5.0  # that a program has to end by itself
_LAST_LINES = 5  # of stderr, kept for the message
_OVER: tuple[Wish, ...] = ("cancel", "superseded")


@dataclass(slots=True)
class _Call:
    """What SIGTERM said to this worker."""

    is_to_end: bool = False


@dataclass(slots=True)
class _Watch:
    """Looks after the lease and the row while the program runs; a database that is away is waited for."""

    jobs: Jobs
    leases: Leases
    lease: Lease
    job: Job
    lease_s: float
    clock: Callable[[], float]
    asked_at: float = 0.0
    renewed_at: float = 0.0

    def wish(self) -> Wish:
        """What to do now. Raises LeaseLost when another took over, StoreError when that cannot be told any more."""
        now = self.clock()
        if now - self.asked_at < min(_ASK_S, self.lease_s / 3):
            return "go_on"
        self.asked_at = now
        try:
            wish = self.jobs.wish(self.job)
            if now - self.renewed_at >= self.lease_s / 3:
                self.leases.renew(self.lease, self.lease_s)
                self.renewed_at = now
        except StoreError:
            if now - self.renewed_at > self.lease_s:
                raise
            return "go_on"
        return wish


def work_on(
    work: Workspace, job_id: str, attempt: int | None, *, revision: str | None, clock: Callable[[], float]
) -> Job | None:
    """Do a job's attempt; None when there is nothing to do in it. `revision` is that of the running code.

    Raises LeaseHeld while another works on it, LeaseLost when another took over, and StageError where an earlier
    worker was lost: submit it again.
    """
    lease_s = section(work.tree, "loop", LoopParams).lease_s
    with opened_jobs(work) as jobs, opened_leases(work) as leases, _listening() as call:
        lease = leases.take(lease_name(job_id), lease_s)
        try:
            job = jobs.begin(lease, job_id, attempt)
            if job is None:
                return None
            watch = _Watch(
                jobs=jobs, leases=leases, lease=lease, job=job, lease_s=lease_s, clock=clock, renewed_at=clock()
            )
            end = _ended(work, job, watch, call, revision)
            jobs.finish(lease, job, end, lambda: _publish(work, job, end))
            return jobs.find(job_id)
        finally:
            leases.give_back(lease)


def _ended(work: Workspace, job: Job, watch: _Watch, call: _Call, revision: str | None) -> JobEnd:
    if job.revision is not None and revision is not None and not revision.startswith(job.revision):
        return JobEnd(
            state="failed",
            message=f"the job asks for revision {job.revision}, this worker runs {revision}; start it from that image",
        )
    out = _attempt_folder(work, job)
    out.mkdir(parents=True, exist_ok=True)
    keep_params(work, out / PARAMS)
    order = Order(
        stage=job.kind,
        root=work.root.resolve(),
        params=out / PARAMS,
        release_digest=job.inputs_digest,
        out=out,
    )
    return _run(PROGRAMS[job.kind].argv(order), out, watch, call)


def _run(argv: list[str], out: Path, watch: _Watch, call: _Call) -> JobEnd:
    """Run the program in a process group of its own, which does not outlive this process."""
    leash = [sys.executable, "-m", "faceloop.jobs.leash", str(os.getpid()), *argv]
    (out / RESULT).unlink(missing_ok=True)
    with subprocess.Popen(
        leash, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE, start_new_session=True
    ) as program:
        told: deque[str] = deque(maxlen=_LAST_LINES)
        assert program.stderr is not None  # noqa: S101  # it was asked for
        reader = Thread(target=_pass_on, args=(program.stderr, told), daemon=True)
        reader.start()
        is_cancelled = False
        try:
            while program.poll() is None and not call.is_to_end:
                if watch.wish() in _OVER:
                    is_cancelled = True
                    break
                time.sleep(_LOOK_S)
        finally:
            stop_group(program)
            reader.join(_GRACE_S)
    if is_cancelled:
        return JobEnd(state="cancelled", message="cancelled by request")
    if call.is_to_end and program.returncode != 0:
        return JobEnd(state="failed", message="the worker was told to end (SIGTERM); submit the job again")
    if program.returncode != 0:
        return JobEnd(state="failed", message=_why(program.returncode, told))
    try:
        return JobEnd(state="succeeded", result=read_result(out))
    except DataError as error:
        return JobEnd(state="failed", message=str(error))


def stop_group(program: "subprocess.Popen[bytes]") -> None:
    """End a program with all that it started: asked first, then made to."""
    for stop, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        if program.poll() is None:
            os.killpg(program.pid, stop)
            try:
                program.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
    try:
        os.killpg(program.pid, signal.SIGKILL)  # what it left behind
    except ProcessLookupError:
        return


def _pass_on(stream: IO[bytes], told: deque[str]) -> None:
    for line in stream:
        text = line.decode("utf-8", "replace")
        sys.stderr.write(text)
        sys.stderr.flush()
        if text.strip():
            told.append(text.strip())


def _why(code: int, told: deque[str]) -> str:
    last = told[-1] if told else "it said nothing"
    if code < 0:
        return f"the program was ended by {signal.Signals(-code).name}; its last line: {last}"
    return last


def _attempt_folder(work: Workspace, job: Job) -> Path:
    return job_folder(work.root.resolve(), job.job_id) / f"attempt-{job.attempt}"


def _publish(work: Workspace, job: Job, end: JobEnd) -> None:
    """The result of the attempt becomes that of the job."""
    if end.state == "succeeded":
        folder = job_folder(work.root.resolve(), job.job_id)
        (_attempt_folder(work, job) / RESULT).replace(folder / RESULT)
        sync_path(folder)


@contextmanager
def _listening() -> Iterator[_Call]:
    """SIGTERM ends the program first, then us, in good order."""
    call = _Call()

    def _heard(number: int, frame: object) -> None:
        call.is_to_end = True

    before = signal.signal(signal.SIGTERM, _heard)
    try:
        yield call
    finally:
        signal.signal(signal.SIGTERM, before)

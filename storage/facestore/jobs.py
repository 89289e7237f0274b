"""Jobs: long work that outlives whoever asked for it. The row comes first, so that a restart attaches to it.

A job is named by all that its result depends on: asked twice, it is one job. Who works on it holds the lease
`job/JOB`; a running job without a live lease is lost. A job that failed, was cancelled or lost may be asked for
again: the same id, the next attempt, and whatever the earlier attempt still writes is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import JSON, Boolean, ColumnElement, Integer, RowMapping, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, open_catalogue, reading, writing
from facestore.errors import LeaseHeld, LeaseLost, StageError
from facestore.ids import ID_HEX, JsonValue, digest_of
from facestore.leases import Lease, Leases, has_ended

JobKind = Literal["train", "evaluate", "export"]
JobState = Literal["submitted", "running", "succeeded", "failed", "cancelled", "lost"]
ENDED: tuple[JobState, ...] = ("succeeded", "failed", "cancelled", "lost")
Wish = Literal["go_on", "cancel", "superseded"]
_REOPEN_S = 30.0  # at most between proving that nobody works on a job and writing its next attempt
_LONGEST_MESSAGE = 2_000


class _JobRow(Tables):
    __tablename__ = "job"

    job_id: Mapped[str] = mapped_column(String(ID_HEX), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    inputs_digest: Mapped[str] = mapped_column(String(64), index=True)
    params: Mapped[JsonValue] = mapped_column(JSON)
    revision: Mapped[str | None] = mapped_column(String(64))
    parameter_set: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer)
    launcher: Mapped[str] = mapped_column(String(16))
    handle: Mapped[str | None] = mapped_column(String(300))
    log: Mapped[str | None] = mapped_column(String(300))
    is_cancel_asked: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Moment())
    launched_at: Mapped[datetime | None] = mapped_column(Moment())
    started_at: Mapped[datetime | None] = mapped_column(Moment())
    ended_at: Mapped[datetime | None] = mapped_column(Moment())
    result: Mapped[JsonValue] = mapped_column(JSON)
    message: Mapped[str | None] = mapped_column(Text)


_LEASE = Tables.metadata.tables["lease"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """All that a job's result depends on."""

    kind: JobKind
    inputs_digest: str  # of the artifact that it works on
    params: JsonValue  # program, its version and its settings
    revision: str | None  # of the code; None: not known
    parameter_set: str

    @property
    def job_id(self) -> str:
        """32 hex digits."""
        fields: dict[str, JsonValue] = {name: getattr(self, name) for name in JobRequest.__slots__}
        return digest_of({"job": fields})[:ID_HEX]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands."""

    job_id: str
    kind: JobKind
    inputs_digest: str
    params: JsonValue
    revision: str | None
    parameter_set: str
    state: JobState
    attempt: int  # 1 …
    launcher: str
    handle: str | None  # what the launcher calls what it started; None: nothing was started yet
    log: str | None  # below the root
    is_cancel_asked: bool
    created_at: datetime
    launched_at: datetime | None  # of this attempt, as the two below
    started_at: datetime | None
    ended_at: datetime | None
    result: JsonValue
    message: str | None  # why it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What a worker says when its program has ended."""

    state: Literal["succeeded", "failed", "cancelled"]
    result: JsonValue = None
    message: str | None = None


class Jobs:
    """The jobs of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str, holder: str | None = None) -> None:
        self._engine = open_catalogue(url, "jobs")
        self._leases = Leases(url, holder)

    def submit(self, request: JobRequest, launcher: str) -> Job:
        """The job of this request: a new row, the next attempt of one that came to nothing, or what is there."""
        with writing(self._engine, "submit a job") as session:
            if session.get(_JobRow, request.job_id) is None:
                session.add(_new_row(request, launcher, database_now(session)))
        job = self.find(request.job_id)
        if job.state in ("failed", "cancelled", "lost"):
            return self.retry(job, launcher)
        return job

    def retry(self, job: Job, launcher: str, *, is_undone: bool = False) -> Job:
        """The next attempt of a job that came to nothing, or the job as it is by now.

        `is_undone`: also of one that succeeded, because what it made is not there any more.
        Taking its lease proves that nobody works on it, and shuts out a worker that wakes up.
        """
        try:
            lease = self._leases.take(lease_name(job.job_id), _REOPEN_S)
        except LeaseHeld:
            return self.find(job.job_id)
        try:
            with self._leases.fenced(lease) as session:
                row = session.get_one(_JobRow, job.job_id)
                if row.attempt == job.attempt and (is_undone or row.state != "succeeded"):
                    row.state, row.attempt, row.launcher = "submitted", row.attempt + 1, launcher
                    row.is_cancel_asked, row.result = False, None
                    row.handle = row.log = row.message = None
                    row.launched_at = row.started_at = row.ended_at = None
        finally:
            self._leases.give_back(lease)
        return self.find(job.job_id)

    def find(self, job_id: str) -> Job:
        """How a job stands. Raises StageError for an unknown one."""
        for job in self._read([_JobRow.job_id == job_id]):
            return job
        raise StageError(f"there is no job {job_id!r}; `faceloop jobs list` shows those that are there")

    def all(self) -> list[Job]:
        """Every job, newest first."""
        return self._read([])

    def of_inputs(self, kind: JobKind, inputs_digest: str) -> list[Job]:
        """Jobs of a kind on these inputs, newest first."""
        return self._read([_JobRow.kind == kind, _JobRow.inputs_digest == inputs_digest])

    def launched(self, job: Job, launcher: str, handle: str, log: str | None) -> None:
        """Write down what was started for this attempt; does nothing when the attempt is over."""
        with writing(self._engine, f"note the launch of job {job.job_id}") as session:
            row = session.get(_JobRow, job.job_id)
            if row is not None and row.attempt == job.attempt:
                row.launcher, row.handle, row.log = launcher, handle, log
                row.launched_at = database_now(session)

    def begin(self, lease: Lease, job_id: str, attempt: int | None) -> Job | None:
        """Take up a submitted job under its lease; None when there is nothing to do in this attempt.

        Raises StageError where an earlier worker was lost in the middle: it must be submitted again.
        """
        self.find(job_id)
        with self._leases.fenced(lease) as session:
            row = session.get_one(_JobRow, job_id)
            if row.state == "running" and attempt in (None, row.attempt):
                raise StageError(f"job {job_id}: its worker was lost in attempt {row.attempt}; submit it again")
            if row.state != "submitted" or attempt not in (None, row.attempt):
                return None
            row.state, row.started_at = "running", database_now(session)
        return self.find(job_id)

    def finish(self, lease: Lease, job: Job, end: JobEnd, publish: Callable[[], None]) -> None:
        """Write how an attempt ended and call `publish`, while nobody can take the job over.

        Raises LeaseLost when somebody has: then nothing is written, and `publish` is not called.
        """
        with self._leases.fenced(lease) as session:
            row = session.get_one(_JobRow, job.job_id)
            if (row.state, row.attempt) != ("running", job.attempt):
                raise LeaseLost(f"job {job.job_id}: attempt {job.attempt} is over; its result was not taken")
            publish()
            row.state, row.result, row.ended_at = end.state, end.result, database_now(session)
            row.message = end.message[:_LONGEST_MESSAGE] if end.message else None

    def ask_cancel(self, job_id: str) -> Job:
        """Have a job cancelled: at once where nobody works on it, else its worker will see to it."""
        job = self.find(job_id)
        with writing(self._engine, f"cancel job {job_id}") as session:
            row = session.get_one(_JobRow, job_id)
            if row.state == "submitted" or (job.state == "lost" and row.attempt == job.attempt):
                _fence_off(session, job_id)
                row.state, row.ended_at = "cancelled", database_now(session)
            row.is_cancel_asked = row.is_cancel_asked or row.state in ("running", "cancelled")
        return self.find(job_id)

    def wish(self, job: Job) -> Wish:
        """What its worker should do now."""
        with reading(self._engine, f"look after job {job.job_id}") as session:
            row = session.get(_JobRow, job.job_id)
            if row is None or row.attempt != job.attempt or row.state != "running":
                return "superseded"
            return "cancel" if row.is_cancel_asked else "go_on"

    def close(self) -> None:
        self._leases.close()
        self._engine.dispose()

    def _read(self, conditions: list[ColumnElement[bool]]) -> list[Job]:
        """Job and lease by one question, so that both are of one moment."""
        columns = [getattr(_JobRow, name) for name in Job.__slots__]
        question = (
            select(*columns, _LEASE.c.holder, _LEASE.c.expires_at)
            .outerjoin(_LEASE, _LEASE.c.name == "job/" + _JobRow.job_id)
            .order_by(_JobRow.created_at.desc(), _JobRow.job_id)
        )
        for condition in conditions:
            question = question.where(condition)
        before: set[tuple[str, int]] = set()
        while True:
            with reading(self._engine, "read the jobs") as session:
                now = database_now(session)
                rows = list(session.execute(question).mappings().all())
            lost = {(row["job_id"], row["attempt"]) for row in rows if _is_lost(row, now)}
            if lost <= before:
                return [_job(row, is_lost=(row["job_id"], row["attempt"]) in lost) for row in rows]
            before = lost  # a worker that ended in between has written so before: look again


def lease_name(job_id: str) -> str:
    """What a worker of this job must hold."""
    return f"job/{job_id}"


def _new_row(request: JobRequest, launcher: str, now: datetime) -> _JobRow:
    return _JobRow(
        **{name: getattr(request, name) for name in JobRequest.__slots__},
        job_id=request.job_id,
        state="submitted",
        attempt=1,
        launcher=launcher,
        is_cancel_asked=False,
        created_at=now,
    )


def _fence_off(session: Session, job_id: str) -> None:
    """Whoever still holds the lease of a job that was called off holds nothing."""
    where = _LEASE.c.name == lease_name(job_id)
    session.execute(_LEASE.update().where(where).values(token=_LEASE.c.token + 1, holder=None))


def _is_lost(row: RowMapping, now: datetime) -> bool:
    """Running and nobody holds the lease, or what was started for it ended before it took the job up."""
    holder, handle = row["holder"], row["handle"]
    if holder is not None and row["expires_at"] > now and not has_ended(holder):
        return False
    return row["state"] == "running" or (row["state"] == "submitted" and handle is not None and has_ended(handle))


def _job(row: RowMapping, *, is_lost: bool) -> Job:
    fields = {name: row[name] for name in Job.__slots__}
    return Job(**fields | {"state": "lost"}) if is_lost else Job(**fields)

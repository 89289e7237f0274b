"""Vitals: how the catalogue's other tables stand, in sums that the database makes. Nobody's rows are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from facestore.catalogue import Tables, database_now, open_catalogue, reading
from facestore.ids import JsonValue
from facestore.jobs import Jobs
from facestore.leases import Leases, has_ended
from facestore.ledger import Ledger
from facestore.promotions import Promotions
from facestore.questions import CLOSED
from facestore.reviewtables import AnnotationRow, HintRow, QuestionRow, SettlementRow, TaskRow

_REGISTERED = (Jobs, Leases, Ledger, Promotions)  # by their modules: the tables that are asked here


@dataclass(frozen=True, slots=True, kw_only=True)
class StageVitals:
    """One stage in the ledger."""

    stage: str
    runs: int
    seconds: float  # of all its runs
    last_at: datetime
    last_seconds: float
    last_counts: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseVitals:
    """Leases whose names begin alike: `detect` stands for `detect/b003` too."""

    work: str
    held: int  # now
    losses: int  # ever


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionVitals:
    """Questions of one kind in the labelling tool."""

    kind: str
    waiting: int  # that nobody has answered
    oldest_at: datetime | None  # asked
    answers: int  # ever, each counted once however often it was changed


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVitals:
    """Jobs of one kind in one state."""

    kind: str
    state: str
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueVitals:
    """All of it at one time."""

    now: datetime  # by the database's clock
    stages: tuple[StageVitals, ...]
    leases: tuple[LeaseVitals, ...]
    questions: tuple[QuestionVitals, ...]
    hints: int
    jobs: tuple[JobVitals, ...]
    promotions: int
    promoted_at: datetime | None


class Vitals:
    """Raises StoreError when the database cannot be used.

    Sums over rows that never change are kept while nothing was added: read often, a large catalogue costs little.
    """

    def __init__(self, url: str) -> None:
        self._engine: Engine = open_catalogue(url, "vitals")
        self._runs: dict[str, tuple[int, float]] = {}  # stage → runs and their seconds
        self._questions: tuple[QuestionVitals, ...] = ()
        self._asked_at: tuple[object, ...] = ()  # how the tables of review stood when the questions were counted

    def close(self) -> None:
        self._engine.dispose()

    def read(self) -> CatalogueVitals:
        with reading(self._engine, "read the vitals") as session:
            promotions, promoted_at = _promotions(session)
            return CatalogueVitals(
                now=database_now(session),
                stages=self._stages(session),
                leases=_leases(session),
                questions=self._current_questions(session),
                hints=session.scalar(select(func.count()).select_from(HintRow)) or 0,
                jobs=_jobs(session),
                promotions=promotions,
                promoted_at=promoted_at,
            )

    def _stages(self, session: Session) -> tuple[StageVitals, ...]:
        run = Tables.metadata.tables["stage_run"].c
        found = []
        for stage, runs in session.execute(select(run.stage, func.count()).group_by(run.stage).order_by(run.stage)):
            if self._runs.get(stage, (0, 0.0))[0] != runs:
                seconds = session.scalar(select(func.sum(run.wall_s)).where(run.stage == stage)) or 0.0
                self._runs[stage] = (runs, float(seconds))
            newest = select(run.published_at, run.wall_s, run.counts).where(run.stage == stage)
            last = session.execute(newest.order_by(run.published_at.desc(), run.run_key).limit(1)).one()
            found.append(
                StageVitals(
                    stage=stage,
                    runs=runs,
                    seconds=self._runs[stage][1],
                    last_at=last.published_at,
                    last_seconds=last.wall_s,
                    last_counts=last.counts,
                )
            )
        return tuple(found)

    def _current_questions(self, session: Session) -> tuple[QuestionVitals, ...]:
        stand = (
            session.scalar(select(func.max(AnnotationRow.seq))),
            *session.execute(select(func.count(), func.max(SettlementRow.changed_at))).one(),
            *session.execute(select(func.count(), func.max(TaskRow.changed_at))).one(),
        )
        if stand != self._asked_at:
            self._questions, self._asked_at = _questions(session), stand
        return self._questions


def _leases(session: Session) -> tuple[LeaseVitals, ...]:
    lease = Tables.metadata.tables["lease"].c
    now = database_now(session)
    held: dict[str, int] = {}
    losses: dict[str, int] = {}
    for row in session.execute(select(lease.name, lease.holder, lease.expires_at, lease.losses)):
        work = row.name.partition("/")[0]
        held[work] = held.get(work, 0) + (row.holder is not None and row.expires_at > now)
        losses[work] = losses.get(work, 0) + row.losses
    return tuple(LeaseVitals(work=work, held=held[work], losses=losses[work]) for work in sorted(held))


def _questions(session: Session) -> tuple[QuestionVitals, ...]:
    closed = select(SettlementRow.question_id).where(SettlementRow.state.in_(CLOSED))
    touched = select(AnnotationRow.question_id).where(AnnotationRow.state.in_(("answered", "skipped")))
    asked = (
        select(QuestionRow.kind, func.count(TaskRow.question_id.distinct()), func.min(TaskRow.changed_at))
        .join(TaskRow, TaskRow.question_id == QuestionRow.question_id)
        .where(TaskRow.state == "pushed", TaskRow.question_id.not_in(closed), TaskRow.question_id.not_in(touched))
        .group_by(QuestionRow.kind)
    )
    first = (
        select(AnnotationRow.question_id)
        .where(AnnotationRow.state == "answered")
        .group_by(AnnotationRow.question_id, AnnotationRow.project_key, AnnotationRow.unique_id)
        .subquery()
    )
    answered = (
        select(QuestionRow.kind, func.count())
        .join(first, first.c.question_id == QuestionRow.question_id)
        .group_by(QuestionRow.kind)
    )
    waiting = {kind: (number, oldest) for kind, number, oldest in session.execute(asked).all()}
    answers = {kind: number for kind, number in session.execute(answered).all()}  # noqa: C416  # rows are no pairs
    return tuple(
        QuestionVitals(
            kind=kind,
            waiting=waiting.get(kind, (0, None))[0],
            oldest_at=waiting.get(kind, (0, None))[1],
            answers=answers.get(kind, 0),
        )
        for kind in sorted(waiting.keys() | answers.keys())
    )


def _jobs(session: Session) -> tuple[JobVitals, ...]:
    """A running job whose worker gives no sign of life counts as lost."""
    job = Tables.metadata.tables["job"].c
    sums = select(job.kind, job.state, func.count()).group_by(job.kind, job.state)
    counts = {(kind, state): number for kind, state, number in session.execute(sums).all()}
    lease = Tables.metadata.tables["lease"].c
    alive = {
        row.name
        for row in session.execute(select(lease.name, lease.holder, lease.expires_at))
        if row.holder is not None and row.expires_at > database_now(session) and not has_ended(row.holder)
    }
    for kind, job_id in session.execute(select(job.kind, job.job_id).where(job.state == "running")).all():
        if f"job/{job_id}" not in alive:
            counts[kind, "running"] -= 1
            counts[kind, "lost"] = counts.get((kind, "lost"), 0) + 1
    return tuple(JobVitals(kind=kind, state=state, jobs=counts[kind, state]) for kind, state in sorted(counts))


def _promotions(session: Session) -> tuple[int, datetime | None]:
    promotion = Tables.metadata.tables["promotion"].c
    sums = select(func.count(), func.max(promotion.at)).where(promotion.turn == "promoted")
    number, newest = session.execute(sums).one()
    return number, newest


def promoted_inputs(url: str) -> Mapping[str, JsonValue]:
    """Content digests of what the current release was made from; empty where none is, or its run is not known."""
    promotions = Promotions(url)
    try:
        current = promotions.current()
    finally:
        promotions.close()
    if current is None:
        return {}
    engine = open_catalogue(url, "ledger")
    run = Tables.metadata.tables["stage_run"].c
    made_it = select(run.inputs).where(run.stage == "pack", run.outputs["release"].as_string() == current.release)
    try:
        with reading(engine, "read what the current release was made from") as session:
            inputs = session.scalars(made_it.order_by(run.published_at.desc()).limit(1)).first()
    finally:
        engine.dispose()
    return inputs if isinstance(inputs, dict) else {}

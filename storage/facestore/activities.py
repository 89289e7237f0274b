"""Activities: what each command did, when, how it ended, in counts. Who ran it, and on which names, is not kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import JSON, BigInteger, Float, Integer, Row, String, func, select
from sqlalchemy.orm import Mapped, mapped_column

from facestore.catalogue import Moment, Tables, known_ids, make_append_only, open_catalogue, reading, writing
from facestore.ids import JsonValue, digest_of

ActivityOutcome = Literal["done", "skipped", "failed", "held"]
OUTCOMES: tuple[ActivityOutcome, ...] = get_args(ActivityOutcome)
_SERIAL = BigInteger().with_variant(Integer, "sqlite")


class _ActivityRow(Tables):
    __tablename__ = "activity"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    activity_id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[str | None] = mapped_column(String(600), index=True)
    task: Mapped[str | None] = mapped_column(String(300))
    attempt: Mapped[int] = mapped_column(Integer)
    command: Mapped[str] = mapped_column(String(64))
    started_at: Mapped[datetime] = mapped_column(Moment())
    ended_at: Mapped[datetime] = mapped_column(Moment())
    seconds: Mapped[float] = mapped_column(Float(53))
    outcome: Mapped[str] = mapped_column(String(16))
    exit_code: Mapped[int] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str | None] = mapped_column(String(32))
    items: Mapped[int] = mapped_column(BigInteger)
    counts: Mapped[JsonValue] = mapped_column(JSON)


make_append_only(_ActivityRow, "activity_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One command that ran to its end. A killed one leaves no row; its next attempt does."""

    run_id: str | None  # DAG_ID/RUN_ID; None: called by hand
    task: str | None  # task_id, with the map index in brackets
    attempt: int  # 1 …
    command: str  # its words, without what was given to it: `run detect`
    started_at: datetime  # UTC
    ended_at: datetime
    outcome: ActivityOutcome
    exit_code: int
    error: str | None  # class of the error; its text stays in the log, for it may name a path
    state: str | None  # what the command said of itself: staged, published, unchanged
    items: int  # that it published; 0 where it does not say
    counts: JsonValue  # numbers of its last line

    @property
    def seconds(self) -> float:
        return max(0.0, (self.ended_at - self.started_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityTotal:
    """Activities of one command, state and outcome together."""

    command: str
    state: str | None
    outcome: ActivityOutcome
    activities: int
    items: int
    seconds: float
    last_ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums of the activities up to number `seq`."""

    seq: int
    rows: tuple[ActivityTotal, ...]


_FIELDS = tuple(name for name in Activity.__slots__)


class Activities:
    """The activities of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "activities")

    def close(self) -> None:
        self._engine.dispose()

    def record(self, activity: Activity, *, by: str) -> None:
        """Append it, once: the same activity `by` the same process is one row."""
        key = digest_of([activity.run_id, activity.task, activity.attempt, activity.command,
                         activity.started_at.isoformat(), activity.ended_at.isoformat(), by])  # fmt: skip
        with writing(self._engine, f"record the activity {activity.command}") as session:
            if not known_ids(session, _ActivityRow.activity_id, [key]):
                values = {name: getattr(activity, name) for name in _FIELDS}
                session.add(_ActivityRow(activity_id=key, seconds=activity.seconds, **values))

    def of_run(self, run_id: str) -> list[Activity]:
        """Those of one Dag run, by start, then as they were recorded."""
        rows = select(_ActivityRow).where(_ActivityRow.run_id == run_id)
        with reading(self._engine, "read the activities") as session:
            found = session.scalars(rows.order_by(_ActivityRow.started_at, _ActivityRow.seq))
            return [Activity(**{name: getattr(row, name) for name in _FIELDS}) for row in found]

    def totals(self, after: int = 0) -> Totals:
        """Sums over the rows numbered beyond `after`: rows never change and their numbers grow, so who keeps the last
        sums need only ask for what came since."""
        row = _ActivityRow
        sums = (
            select(
                row.command, row.state, row.outcome, func.count(), func.sum(row.items), func.sum(row.seconds),
                func.max(row.ended_at), func.max(row.seq),
            )
            .where(row.seq > after)
            .group_by(row.command, row.state, row.outcome)
            .order_by(row.command, row.state, row.outcome)
        )  # fmt: skip
        with reading(self._engine, "sum the activities") as session:
            found = session.execute(sums).all()
        return Totals(seq=max((line[7] for line in found), default=after), rows=tuple(_total(line) for line in found))


def _total(line: Row[str, str | None, str, int, int, float, datetime, int]) -> ActivityTotal:
    command, state, outcome, activities, items, seconds, last, _ = line
    kept = next(known for known in OUTCOMES if known == outcome)
    return ActivityTotal(
        command=command,
        state=state,
        outcome=kept,
        activities=int(activities),
        items=int(items),
        seconds=float(seconds),
        last_ended_at=last,
    )


def together(earlier: Sequence[ActivityTotal], later: Sequence[ActivityTotal]) -> tuple[ActivityTotal, ...]:
    """Sums of both."""
    sums = {(row.command, row.state or "", row.outcome): row for row in earlier}
    for row in later:
        key = (row.command, row.state or "", row.outcome)
        if (before := sums.get(key)) is not None:
            row = ActivityTotal(
                command=row.command,
                state=row.state,
                outcome=row.outcome,
                activities=before.activities + row.activities,
                items=before.items + row.items,
                seconds=before.seconds + row.seconds,
                last_ended_at=max(before.last_ended_at, row.last_ended_at),
            )
        sums[key] = row
    return tuple(sums[key] for key in sorted(sums))

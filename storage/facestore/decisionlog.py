"""The decision log: every decision ever made, in the catalogue. It only grows; what stands is derived elsewhere."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Engine, Integer, Select, String, Text, func, insert, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import (
    Moment,
    Tables,
    in_transaction,
    known_ids,
    make_append_only,
    open_catalogue,
    streamed,
)
from facestore.decisions import Decision, decide
from facestore.errors import DataError

_NAMES = tuple(field.name for field in fields(Decision))
_AT_ONCE = 4_096  # that are asked for by id


class _DecisionRow(Tables):
    __tablename__ = "decision"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's way

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment(), server_default=func.now())  # the database's clock
    decision_id: Mapped[str] = mapped_column(String(64), unique=True)
    verb: Mapped[str] = mapped_column(String(16))
    face_id: Mapped[str | None] = mapped_column(String(64), index=True)
    other_face_id: Mapped[str | None] = mapped_column(String(64), index=True)
    identity_id: Mapped[str | None] = mapped_column(String(64), index=True)
    name: Mapped[str | None] = mapped_column(Text)
    value: Mapped[str | None] = mapped_column(Text)
    retracts: Mapped[str | None] = mapped_column(String(64))
    annotator: Mapped[str] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(Moment(), index=True)
    question_id: Mapped[str | None] = mapped_column(Text)
    annotation_id: Mapped[str | None] = mapped_column(Text)
    annotation_version: Mapped[int | None] = mapped_column(Integer)
    note: Mapped[str | None] = mapped_column(Text)


make_append_only(_DecisionRow, "decision_id")


class DecisionLog:
    """Decisions by their id. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "decision log")

    def append(self, decisions: Sequence[Decision]) -> int:
        """Write those that are new, all or none; returns how many. A decision said twice is written once.

        Raises DataError for a retract of a decision that is neither in the log nor among these, and for a decision
        that does not match its id.
        """
        doing = f"append {len(decisions)} decisions"
        return in_transaction(self._engine, doing, lambda session: insert_decisions(session, decisions))

    def find(self, decision_id: str) -> Decision | None:
        return next(self._read(_ordered().where(_DecisionRow.decision_id == decision_id)), None)

    def all(self) -> Iterator[Decision]:
        """Every decision, ordered by decided_at, then decision_id; one state of the log, streamed."""
        return self._read(_ordered())

    def of_face(self, face_id: str) -> Iterator[Decision]:
        """Decisions that name the face, in the order of `all`; retracts name none."""
        of_it = or_(_DecisionRow.face_id == face_id, _DecisionRow.other_face_id == face_id)
        return self._read(_ordered().where(of_it))

    def close(self) -> None:
        self._engine.dispose()

    def _read(self, rows: Select[Any]) -> Iterator[Decision]:
        return (Decision(**row) for row in streamed(self._engine, rows, "read the decision log"))


def these_decisions(engine: Engine, decision_ids: Collection[str]) -> list[Decision]:
    """Those of the ids that the log holds, in the order of ids. Raises StoreError."""
    ids = sorted(decision_ids)
    blocks = [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]
    wanted = select(*[getattr(_DecisionRow, name) for name in _NAMES]).order_by(_DecisionRow.decision_id)
    return [
        Decision(**row)
        for some in blocks
        for row in streamed(engine, wanted.where(_DecisionRow.decision_id.in_(some)), "read the decision log")
    ]


def insert_decisions(session: Session, decisions: Sequence[Decision]) -> int:
    """Write those that are new in the caller's transaction; returns how many. Raises what `append` raises."""
    for decision in decisions:
        _check_id(decision)
    given = {decision.decision_id: decision for decision in decisions}
    known = known_ids(session, _DecisionRow.decision_id, given)
    new = [decision for decision_id, decision in given.items() if decision_id not in known]
    targets = {decision.retracts for decision in new if decision.retracts is not None} - given.keys()
    if unknown := targets - known_ids(session, _DecisionRow.decision_id, targets):
        raise DataError(f"no decision {min(unknown)} to retract; nothing was written: give an id of the log")
    if new:
        session.execute(insert(_DecisionRow), [_row(decision) for decision in new])
    return len(new)


def _ordered() -> Select[Any]:
    columns = [getattr(_DecisionRow, name) for name in _NAMES]
    return select(*columns).order_by(_DecisionRow.decided_at, _DecisionRow.decision_id)


def _row(decision: Decision) -> Mapping[str, object]:
    return {name: getattr(decision, name) for name in _NAMES}


def _check_id(decision: Decision) -> None:
    again = decide(**{name: getattr(decision, name) for name in _NAMES if name != "decision_id"})
    if again != decision:
        raise DataError(
            f"decision {decision.decision_id} says something else than its id ({again.decision_id}); "
            "build decisions with `decide` and never change one"
        )

"""The identity log: merges, splits, names and undos, and people's checks of machine labels. It only grows."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, Integer, Select, String, Text, func, insert, select
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
from facestore.decisionlog import insert_decisions
from facestore.decisions import Decision, IdentityEvent, Review
from facestore.errors import DataError
from facestore.ids import ID_HEX, digest_of

_EVENT_NAMES = tuple(field.name for field in fields(IdentityEvent))
_REVIEW_NAMES = tuple(field.name for field in fields(Review))


class _EventRow(Tables):
    __tablename__ = "identity_event"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's way

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment(), server_default=func.now())
    event_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    identity_id: Mapped[str] = mapped_column(String(64), index=True)
    other_identity_id: Mapped[str | None] = mapped_column(String(64), index=True)
    face_ids: Mapped[list[str]] = mapped_column(JSON)
    decision_ids: Mapped[list[str]] = mapped_column(JSON)
    name: Mapped[str | None] = mapped_column(Text)
    undoes: Mapped[str | None] = mapped_column(String(64))
    annotator: Mapped[str] = mapped_column(Text)
    happened_at: Mapped[datetime] = mapped_column(Moment(), index=True)
    note: Mapped[str | None] = mapped_column(Text)


class _ReviewRow(Tables):
    __tablename__ = "review"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment(), server_default=func.now())
    review_id: Mapped[str] = mapped_column(String(64), unique=True)  # of the rest: a review said twice is one
    face_id: Mapped[str] = mapped_column(String(64), index=True)
    identity_id: Mapped[str] = mapped_column(String(64))
    confidence: Mapped[float] = mapped_column(Float(53))
    run_id: Mapped[str] = mapped_column(String(64), index=True)
    is_right: Mapped[bool] = mapped_column(Boolean)
    annotator: Mapped[str] = mapped_column(Text)
    reviewed_at: Mapped[datetime] = mapped_column(Moment(), index=True)


make_append_only(_EventRow, "event_id")
make_append_only(_ReviewRow, "review_id")


class IdentityLog:
    """Events by their id, and reviews. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "identity log")

    def append(self, events: Sequence[IdentityEvent], decisions: Sequence[Decision] = ()) -> int:
        """Write the events that are new and the decisions that belong to them, all or none; returns how many events.

        Raises DataError for an undo of an event that is neither in the log nor among these, and what the decision
        log raises.
        """
        given = {event.event_id: event for event in events}

        def write(session: Session) -> int:
            known = known_ids(session, _EventRow.event_id, given)
            new = [event for event_id, event in given.items() if event_id not in known]
            targets = {event.undoes for event in new if event.undoes is not None} - given.keys()
            if unknown := targets - known_ids(session, _EventRow.event_id, targets):
                raise DataError(f"no event {min(unknown)} to undo; nothing was written: give an id of the log")
            insert_decisions(session, decisions)
            if new:
                session.execute(insert(_EventRow), [_event_row(event) for event in new])
            return len(new)

        return in_transaction(self._engine, f"append {len(given)} identity events", write)

    def find(self, event_id: str) -> IdentityEvent | None:
        return next(self._events(_ordered_events().where(_EventRow.event_id == event_id)), None)

    def all(self) -> Iterator[IdentityEvent]:
        """Every event, ordered by happened_at, then event_id; one state of the log, streamed."""
        return self._events(_ordered_events())

    def append_reviews(self, reviews: Sequence[Review]) -> int:
        """Write the reviews that are new, all or none; returns how many. Raises DataError for a naive time."""
        given = {_review_id(review): review for review in reviews}

        def write(session: Session) -> int:
            known = known_ids(session, _ReviewRow.review_id, given)
            rows = [
                {"review_id": review_id, **{name: getattr(review, name) for name in _REVIEW_NAMES}}
                for review_id, review in given.items()
                if review_id not in known
            ]
            if rows:
                session.execute(insert(_ReviewRow), rows)
            return len(rows)

        return in_transaction(self._engine, f"append {len(given)} reviews", write)

    def reviews(self) -> Iterator[Review]:
        """Every review, ordered by reviewed_at, then as one state of the log holds them, streamed."""
        columns = [getattr(_ReviewRow, name) for name in _REVIEW_NAMES]
        rows = select(*columns).order_by(_ReviewRow.reviewed_at, _ReviewRow.review_id)
        return (Review(**row) for row in streamed(self._engine, rows, "read the identity log"))

    def close(self) -> None:
        self._engine.dispose()

    def _events(self, rows: Select[Any]) -> Iterator[IdentityEvent]:
        for row in streamed(self._engine, rows, "read the identity log"):
            lists = {name: tuple(row[name]) for name in ("face_ids", "decision_ids")}
            yield IdentityEvent(**{**row, **lists})


def _ordered_events() -> Select[Any]:
    columns = [getattr(_EventRow, name) for name in _EVENT_NAMES]
    return select(*columns).order_by(_EventRow.happened_at, _EventRow.event_id)


def _event_row(event: IdentityEvent) -> dict[str, object]:
    lists = {name: list(getattr(event, name)) for name in ("face_ids", "decision_ids")}
    return {name: getattr(event, name) for name in _EVENT_NAMES} | lists


def _review_id(review: Review) -> str:
    if review.reviewed_at.tzinfo is None:
        raise DataError(f"the review of face {review.face_id} has a time without a time zone; give UTC")
    *said, reviewed_at = astuple(review)
    return digest_of(["Review", *said, round(reviewed_at.timestamp() * 1_000_000)])[:ID_HEX]

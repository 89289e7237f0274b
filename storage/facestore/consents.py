"""Consents: what people allowed, for which purposes, until when. The log only grows; a withdrawal is a later row.

A consent is named by its id, which footage carries too. Its last row counts: a later one gives it anew, or takes it
back. Its *epoch* is the number of that row in the log, so that it changes with everything that is said of it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import JSON, BigInteger, Integer, Select, String, and_, func, insert, or_, select
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from facestore.catalogue import Moment, Tables, database_now, make_append_only, open_catalogue, reading, writing
from facestore.consenting import ConsentEvent, Purpose, as_row, check_id, withdrawn
from facestore.errors import DataError

DropReason = Literal["consent_withdrawn", "consent_expired", "consent_not_yet", "out_of_purpose", "without_basis"]
REASONS: tuple[DropReason, ...] = get_args(DropReason)
_AT_ONCE = 500  # ids in one question


class _EventRow(Tables):
    __tablename__ = "consent_event"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's way

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment(), server_default=func.now())  # the database's clock
    event_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    consent_id: Mapped[str] = mapped_column(String(128), index=True)
    subject_ref: Mapped[str] = mapped_column(String(64), index=True)
    said_at: Mapped[datetime] = mapped_column(Moment())
    expires_at: Mapped[datetime | None] = mapped_column(Moment())
    retain_until: Mapped[datetime | None] = mapped_column(Moment())
    jurisdiction: Mapped[str | None] = mapped_column(String(16))
    controller: Mapped[str | None] = mapped_column(String(200))
    purposes: Mapped[list[str]] = mapped_column(JSON)
    data_categories: Mapped[list[str]] = mapped_column(JSON)
    notice_version: Mapped[str | None] = mapped_column(String(64))
    notice_sha256: Mapped[str | None] = mapped_column(String(64))
    evidence_sha256: Mapped[str | None] = mapped_column(String(64))
    method: Mapped[str | None] = mapped_column(String(64))
    guardian_ref: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str | None] = mapped_column(String(64))
    said_by: Mapped[str] = mapped_column(String(200))


class _PurposeRow(Tables):
    """A purpose that a row of the log allows: what the gate's predicate looks up."""

    __tablename__ = "consent_purpose"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012  # SQLAlchemy's way

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    allowance_id: Mapped[str] = mapped_column(String(100), unique=True)  # event and purpose
    event_id: Mapped[str] = mapped_column(String(64), index=True)
    purpose: Mapped[str] = mapped_column(String(32))


make_append_only(_EventRow, "event_id")
make_append_only(_PurposeRow, "allowance_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a consent stands: its last row, and the number of that row."""

    epoch: int
    last: ConsentEvent


class Consents:
    """The consents of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "consents")

    def append(self, events: Iterable[ConsentEvent]) -> int:
        """Write those that are new, all or none; returns how many. What was said twice is written once.

        Raises DataError for a consent of another subject under a known id, a withdrawal of a consent that was never
        given, and an event that does not match its id.
        """
        listed = list(events)
        with writing(self._engine, f"append {len(listed)} consents") as session:
            return insert_events(session, listed)

    def withdraw(
        self, *, consent_id: str | None = None, subject_ref: str | None = None, reason: str, by: str
    ) -> tuple[str, ...]:
        """Take back one consent, or all of a subject; the ids of those that stood until now, sorted.

        The time is the database's. Raises DataError where no such consent was given.
        """
        with writing(self._engine, "withdraw a consent") as session:
            now = database_now(session)
            column = _EventRow.consent_id if subject_ref is None else _EventRow.subject_ref
            wanted = consent_id if subject_ref is None else subject_ref
            ids = set(session.scalars(select(_EventRow.consent_id).where(column == wanted)))
            if not ids:
                raise DataError("no such consent was given; `faceloop consent list` has the ids")
            last = {name: found.last for name, found in standings(session, ids).items() if found.last.kind == "given"}
            insert_events(
                session, [withdrawn(last[name], said_at=now, reason=reason, said_by=by) for name in sorted(last)]
            )
            return tuple(sorted(last))

    def standings(self, consent_ids: Collection[str] | None = None) -> dict[str, Standing]:
        """How consents stand, by id; of all of them unless some are named. Unknown ids are left out."""
        with reading(self._engine, "read the consents") as session:
            return standings(session, consent_ids)

    def history(self, consent_id: str) -> list[ConsentEvent]:
        """Everything that was said of a consent, in the order in which it came to be known."""
        rows = select(_EventRow).where(_EventRow.consent_id == consent_id).order_by(_EventRow.seq)
        with reading(self._engine, "read the consents") as session:
            return [_event(row) for row in session.scalars(rows)]

    def now(self) -> datetime:
        """The time by the database's clock, by which consents run out."""
        with reading(self._engine, "ask for the time") as session:
            return database_now(session)

    def close(self) -> None:
        self._engine.dispose()


def may(session: Session, consent_ids: Collection[str], purpose: Purpose, at: datetime) -> set[str]:
    """Those of the consents that allow the purpose at that time: the gate, as a predicate of the caller's transaction.

    Allowed is what the last row of a consent gives: begun, not run out, with the purpose among its own.
    """
    later = aliased(_EventRow)
    is_last = ~select(later.seq).where(later.consent_id == _EventRow.consent_id, later.seq > _EventRow.seq).exists()
    allows = select(_EventRow.consent_id).join(
        _PurposeRow, and_(_PurposeRow.event_id == _EventRow.event_id, _PurposeRow.purpose == purpose)
    )
    allows = allows.where(
        _EventRow.kind == "given",
        _EventRow.said_at <= at,
        or_(_EventRow.expires_at.is_(None), _EventRow.expires_at > at),
        is_last,
    )
    found: set[str] = set()
    for some in _blocks(consent_ids):
        found.update(session.scalars(allows.where(_EventRow.consent_id.in_(some))))
    return found


def epochs(session: Session, consent_ids: Collection[str]) -> dict[str, int]:
    """The epoch of each consent that is known, in the caller's transaction."""
    newest = select(_EventRow.consent_id, func.max(_EventRow.seq)).group_by(_EventRow.consent_id)
    found: dict[str, int] = {}
    for some in _blocks(consent_ids):
        found.update({name: int(seq) for name, seq in session.execute(newest.where(_EventRow.consent_id.in_(some)))})
    return found


def standings(session: Session, consent_ids: Collection[str] | None = None) -> dict[str, Standing]:
    """How consents stand, in the caller's transaction; see `Consents.standings`."""
    newest = select(func.max(_EventRow.seq)).group_by(_EventRow.consent_id)
    blocks: list[Select[Any]] = (
        [newest]
        if consent_ids is None
        else [newest.where(_EventRow.consent_id.in_(some)) for some in _blocks(consent_ids)]
    )
    found = {}
    for block in blocks:
        for row in session.scalars(select(_EventRow).where(_EventRow.seq.in_(block))):
            found[row.consent_id] = Standing(epoch=row.seq, last=_event(row))
    return dict(sorted(found.items()))


def refusal(standing: Standing | None, at: datetime) -> DropReason:
    """Why a consent that does not allow a purpose does not."""
    if standing is None:
        return "without_basis"
    last = standing.last
    if last.kind == "withdrawn":
        return "consent_withdrawn"
    if last.expires_at is not None and last.expires_at <= at:
        return "consent_expired"
    return "consent_not_yet" if last.said_at > at else "out_of_purpose"


def insert_events(session: Session, events: Iterable[ConsentEvent]) -> int:
    """Write those that are new in the caller's transaction, in their order. Raises what `Consents.append` raises.

    A consent as it was given before it was last changed or taken back is old news and not written: a list that an
    office imports once more, under another account say, brings back nothing that was withdrawn meanwhile.
    """
    wanted = {event.event_id: event for event in events}
    known: set[str] = set()
    for some in _blocks(wanted):
        known.update(session.scalars(select(_EventRow.event_id).where(_EventRow.event_id.in_(some))))
    last = {
        name: found.last for name, found in standings(session, {event.consent_id for event in wanted.values()}).items()
    }
    subjects = {name: found.subject_ref for name, found in last.items()}
    written = 0
    for event in [event for event in wanted.values() if event.event_id not in known]:
        check_id(event)
        if event.kind == "withdrawn" and event.consent_id not in subjects:
            raise DataError(f"consent {event.consent_id} was never given; nothing was written: name one that was")
        if subjects.setdefault(event.consent_id, event.subject_ref) != event.subject_ref:
            raise DataError(
                f"consent {event.consent_id} is another subject's; nothing was written: give this one its own id"
            )
        before = last.get(event.consent_id)
        if event.kind == "given" and before is not None and event.said_at < before.said_at:
            continue
        last[event.consent_id] = event
        written += 1
        session.execute(insert(_EventRow), [as_row(event)])
        allowed: list[Mapping[str, object]] = [
            {"allowance_id": f"{event.event_id}:{purpose}", "event_id": event.event_id, "purpose": purpose}
            for purpose in event.purposes
        ]
        if allowed:
            session.execute(insert(_PurposeRow), allowed)
    return written


def _blocks(ids: Iterable[str]) -> Iterator[list[str]]:
    listed = sorted(set(ids))
    for start in range(0, len(listed), _AT_ONCE):
        yield listed[start : start + _AT_ONCE]


def _event(row: _EventRow) -> ConsentEvent:
    fields = {name: getattr(row, name) for name in ConsentEvent.__slots__}
    for name in ("purposes", "data_categories"):
        fields[name] = tuple(fields[name])
    return ConsentEvent(**fields)

"""Promotions: which release is the current one, who said so and why; and when a release was last found due.

Both tables only grow. A roll-back is a row too: the current release is the newest that was promoted and not taken back.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import JSON, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, make_append_only, open_catalogue, reading, writing
from facestore.current_rows import SERIAL, Turn, newest_first, next_seq, standing
from facestore.errors import StageError
from facestore.ids import ID_HEX, JsonValue, digest_of


class _PromotionRow(Tables):
    __tablename__ = "promotion"

    seq: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=False)
    promotion_id: Mapped[str] = mapped_column(String(ID_HEX), unique=True)
    turn: Mapped[str] = mapped_column(String(16))
    release: Mapped[str] = mapped_column(String(64), index=True)
    taken_back: Mapped[str | None] = mapped_column(String(ID_HEX))  # promotion_id that a roll-back takes back
    by: Mapped[str] = mapped_column(String(200))
    why: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment())
    job_id: Mapped[str | None] = mapped_column(String(ID_HEX))
    parameter_set: Mapped[str] = mapped_column(String(64))
    revision: Mapped[str | None] = mapped_column(String(64))
    figures: Mapped[JsonValue] = mapped_column(JSON)
    faces: Mapped[int] = mapped_column(SERIAL)
    decisions: Mapped[int] = mapped_column(SERIAL)
    labels_digest: Mapped[str] = mapped_column(String(64))


class _DueMarkRow(Tables):
    __tablename__ = "due_mark"

    seq: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=False)
    run_id: Mapped[str] = mapped_column(String(600), unique=True)  # empty: when anybody first asked
    at: Mapped[datetime] = mapped_column(Moment())
    faces: Mapped[int] = mapped_column(SERIAL)
    decisions: Mapped[int] = mapped_column(SERIAL)
    labels_digest: Mapped[str] = mapped_column(String(64))
    answer: Mapped[JsonValue] = mapped_column(JSON)


make_append_only(_PromotionRow, "promotion_id")
make_append_only(_DueMarkRow, "run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """What labels were made from at some time."""

    faces: int
    decisions: int
    labels_digest: str  # of the assignments; empty: none yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The stock when a release was last promoted, found due, or asked about for the first time."""

    stock: Stock
    at: datetime
    answer: JsonValue  # what a run was told; null for a promotion


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRequest:
    """A release that is to become the current one."""

    release: str
    by: str
    job_id: str | None
    parameter_set: str
    revision: str | None
    figures: JsonValue
    stock: Stock


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A row of the table: a release came, or went."""

    promotion_id: str
    turn: Turn
    release: str
    taken_back: str | None
    by: str
    why: str | None
    at: datetime
    job_id: str | None
    parameter_set: str
    revision: str | None
    figures: JsonValue


class Promotions:
    """The promotions of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "promotions")

    def promote(self, request: PromotionRequest) -> Promotion:
        """Make a release the current one; where it is already, nothing is written."""
        with writing(self._engine, f"promote release {request.release[:12]}") as session:
            current = _current(session)
            if current is not None and current.release == request.release:
                return _promotion(current)
            row = _new_row(session, request)
            session.add(row)
            session.flush()
            return _promotion(row)

    def roll_back(self, *, by: str, why: str, release: str | None) -> Promotion:
        """Take the current release back: the one before is current again.

        `release` names the one that is meant: a second call of the same roll-back then finds it done. Raises
        StageError where there is nothing to take back, or another release is current.
        """
        with writing(self._engine, "roll a release back") as session:
            newest = session.scalars(newest_first(_PromotionRow)).first()
            if newest is not None and newest.turn == "rolled_back" and newest.release == release:
                return _promotion(newest)
            current = _current(session)
            if current is None:
                raise StageError("no release is current; there is nothing to roll back")
            if release is not None and current.release != release:
                raise StageError(f"release {release[:12]} is not the current one, {current.release[:12]} is")
            row = _row_like(current, seq=next_seq(session, _PromotionRow), at=database_now(session), by=by, why=why)
            session.add(row)
            session.flush()
            return _promotion(row)

    def current(self) -> Promotion | None:
        """The newest promotion that was not rolled back."""
        with reading(self._engine, "read the current release") as session:
            found = _current(session)
            return _promotion(found) if found is not None else None

    def all(self) -> list[Promotion]:
        """Every promotion and roll-back, newest first."""
        with reading(self._engine, "read the promotions") as session:
            return [_promotion(row) for row in session.scalars(newest_first(_PromotionRow))]

    def mark(self, run_id: str, stock: Stock, answer: JsonValue) -> Mark:
        """Remember what a run was told; the first word of a run stands."""
        with writing(self._engine, "note that a release is due") as session:
            row = session.scalars(select(_DueMarkRow).where(_DueMarkRow.run_id == run_id)).first()
            if row is None:
                row = _DueMarkRow(
                    seq=next_seq(session, _DueMarkRow),
                    run_id=run_id,
                    at=database_now(session),
                    answer=answer,
                    **{name: getattr(stock, name) for name in Stock.__slots__},
                )
                session.add(row)
                session.flush()
            return _mark(row, row.answer)

    def marked(self, run_id: str) -> Mark | None:
        """What this run was told before."""
        with reading(self._engine, "read when a release was due") as session:
            row = session.scalars(select(_DueMarkRow).where(_DueMarkRow.run_id == run_id)).first()
            return _mark(row, row.answer) if row is not None else None

    def last_mark(self) -> Mark | None:
        """From where to count: the last promotion or due mark, whichever is newer."""
        with reading(self._engine, "read when a release was due") as session:
            promoted = session.scalars(newest_first(_PromotionRow).where(_PromotionRow.turn == "promoted")).first()
            due = session.scalars(select(_DueMarkRow).order_by(_DueMarkRow.seq.desc())).first()
            marks = [_mark(promoted, None)] if promoted is not None else []
            marks += [_mark(due, due.answer)] if due is not None else []
            return max(marks, key=lambda mark: mark.at, default=None)

    def now(self) -> datetime:
        """The time by the database's clock."""
        with reading(self._engine, "read the time") as session:
            return database_now(session)

    def close(self) -> None:
        self._engine.dispose()


def _current(session: Session) -> _PromotionRow | None:
    return standing(session, _PromotionRow, "promotion_id")


def _new_row(session: Session, request: PromotionRequest) -> _PromotionRow:
    seq = next_seq(session, _PromotionRow)
    names = [name for name in PromotionRequest.__slots__ if name != "stock"]
    return _PromotionRow(
        **{name: getattr(request, name) for name in names},
        **{name: getattr(request.stock, name) for name in Stock.__slots__},
        seq=seq,
        promotion_id=digest_of(["promoted", seq, request.release])[:ID_HEX],
        turn="promoted",
        at=database_now(session),
    )


def _row_like(current: _PromotionRow, *, seq: int, at: datetime, by: str, why: str) -> _PromotionRow:
    kept = ("release", "job_id", "parameter_set", "revision", "figures", *Stock.__slots__)
    return _PromotionRow(
        **{name: getattr(current, name) for name in kept},
        seq=seq,
        promotion_id=digest_of(["rolled_back", seq, current.release])[:ID_HEX],
        turn="rolled_back",
        taken_back=current.promotion_id,
        by=by,
        why=why,
        at=at,
    )


def _promotion(row: _PromotionRow) -> Promotion:
    return Promotion(**{name: getattr(row, name) for name in Promotion.__slots__})


def _mark(row: _PromotionRow | _DueMarkRow, answer: JsonValue) -> Mark:
    return Mark(stock=Stock(**{name: getattr(row, name) for name in Stock.__slots__}), at=row.at, answer=answer)

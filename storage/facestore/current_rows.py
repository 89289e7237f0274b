"""Tables in which something comes and is taken back: rows only grow, the current one is the newest that still stands.

Such a table has `seq` (1, 2, 3 …), `turn` (promoted | rolled_back), an id of the row, and `taken_back`, the id of the
row that a roll-back takes back.
"""

from typing import Any, Literal, TypeVar

from sqlalchemy import BigInteger, Integer, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from facestore.catalogue import Tables

Turn = Literal["promoted", "rolled_back"]
Row = TypeVar("Row", bound=Tables)
SERIAL = BigInteger().with_variant(Integer, "sqlite")


def newest_first(table: type[Row]) -> Select[Row]:
    """Every row, newest first."""
    return select(table).order_by(_column(table, "seq").desc())


def standing(session: Session, table: type[Row], key: str) -> Row | None:
    """The newest promotion that was not taken back; `key` names the column of the rows' ids."""
    taken_back = _column(table, "taken_back")
    gone = select(taken_back).where(taken_back.is_not(None))
    stands = newest_first(table).where(_column(table, "turn") == "promoted", _column(table, key).not_in(gone))
    return session.scalars(stands).first()


def next_seq(session: Session, table: type[Row]) -> int:
    """The number of the next row; the caller holds the turn to write."""
    return (session.scalar(select(func.max(_column(table, "seq")))) or 0) + 1


def _column(table: type[Row], name: str) -> InstrumentedAttribute[Any]:
    found: InstrumentedAttribute[Any] = getattr(table, name)
    return found

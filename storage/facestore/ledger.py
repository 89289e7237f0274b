"""The ledger: every stage run, in the catalogue."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import JSON, Float, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, in_transaction, open_catalogue, reading
from facestore.ids import JsonValue


class _StageRunRow(Tables):
    __tablename__ = "stage_run"

    run_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), index=True)
    params: Mapped[JsonValue] = mapped_column(JSON)
    inputs: Mapped[JsonValue] = mapped_column(JSON)
    outputs: Mapped[JsonValue] = mapped_column(JSON)
    counts: Mapped[JsonValue] = mapped_column(JSON)
    timings: Mapped[JsonValue] = mapped_column(JSON)
    published_at: Mapped[datetime] = mapped_column(Moment(), index=True)
    wall_s: Mapped[float] = mapped_column(Float)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One published run of a stage. `inputs` and `outputs` map artifact names to content digests."""

    run_key: str
    stage: str
    params: JsonValue
    inputs: JsonValue
    outputs: JsonValue
    counts: JsonValue
    timings: JsonValue
    published_at: datetime
    wall_s: float


class Ledger:
    """Runs by their key. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "ledger")

    def record(self, run: StageRun) -> None:
        """Write a run, or leave it as it is when its key is already known."""
        in_transaction(self._engine, f"record the run of {run.stage}", lambda session: record_in(session, run))

    def find(self, run_key: str) -> StageRun | None:
        with reading(self._engine, "read the ledger") as session:
            row = session.get(_StageRunRow, run_key)
            return _run(row) if row else None

    def latest(self, stage: str) -> StageRun | None:
        """The last published run of a stage."""
        newest_first = (_StageRunRow.published_at.desc(), _StageRunRow.run_key)
        newest = select(_StageRunRow).where(_StageRunRow.stage == stage).order_by(*newest_first).limit(1)
        with reading(self._engine, "read the ledger") as session:
            row = session.scalars(newest).first()
            return _run(row) if row else None

    def close(self) -> None:
        self._engine.dispose()


def record_in(session: Session, run: StageRun) -> None:
    """Write a run in a transaction that is open, so that it counts together with what else is done there.

    One whose key is known stays as it is.
    """
    if session.get(_StageRunRow, run.run_key) is None:
        session.add(_StageRunRow(**{name: getattr(run, name) for name in StageRun.__slots__}))


def _run(row: _StageRunRow) -> StageRun:
    return StageRun(**{name: getattr(row, name) for name in StageRun.__slots__})

"""The ledger: every stage run, in SQL (SQLite by default, PostgreSQL by URL). The one home of sqlalchemy."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import JSON, DateTime, Engine, Float, String, create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from facestore.errors import StoreError
from facestore.ids import JsonValue


class _Base(DeclarativeBase):
    pass


class _StageRunRow(_Base):
    __tablename__ = "stage_run"

    run_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    stage: Mapped[str] = mapped_column(String(32), index=True)
    params: Mapped[JsonValue] = mapped_column(JSON)
    inputs: Mapped[JsonValue] = mapped_column(JSON)
    outputs: Mapped[JsonValue] = mapped_column(JSON)
    counts: Mapped[JsonValue] = mapped_column(JSON)
    timings: Mapped[JsonValue] = mapped_column(JSON)
    published_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
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


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _pragmas(connection: object, _: object) -> None:
        for pragma in ("journal_mode=WAL", "busy_timeout=10000", "secure_delete=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]  # the DB-API connection


class Ledger:
    """Runs by their key. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._engine = create_engine(url)
            if self._engine.dialect.name == "sqlite":
                _tune_sqlite(self._engine)
            _Base.metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise StoreError(f"cannot open the ledger at {url!r}: {error}") from error

    def record(self, run: StageRun) -> None:
        """Write a run, or leave it as it is when its key is already known."""
        row = _StageRunRow(**{name: getattr(run, name) for name in StageRun.__slots__})
        try:
            with Session(self._engine) as session, session.begin():
                if session.get(_StageRunRow, run.run_key) is None:
                    session.add(row)
        except SQLAlchemyError as error:
            raise StoreError(f"cannot record the run of {run.stage}: {error}") from error

    def find(self, run_key: str) -> StageRun | None:
        with Session(self._engine) as session:
            row = session.get(_StageRunRow, run_key)
            return _run(row) if row else None

    def latest(self, stage: str) -> StageRun | None:
        """The last published run of a stage."""
        newest = (
            select(_StageRunRow).where(_StageRunRow.stage == stage).order_by(_StageRunRow.published_at.desc()).limit(1)
        )
        with Session(self._engine) as session:
            row = session.scalars(newest).first()
            return _run(row) if row else None

    def close(self) -> None:
        self._engine.dispose()


def _run(row: _StageRunRow) -> StageRun:
    return StageRun(**{name: getattr(row, name) for name in StageRun.__slots__})

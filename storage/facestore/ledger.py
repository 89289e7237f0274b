"""The ledger: every stage run, in SQL (SQLite by default, PostgreSQL by URL). The one home of sqlalchemy."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import JSON, URL, DateTime, Engine, Float, String, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
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


def _parsed(url: str) -> URL | str:
    """A SQLite path is taken as it is: a folder may have any name, `?` and `#` too."""
    if url.startswith("sqlite:///"):
        return URL.create("sqlite", database=url.removeprefix("sqlite:///"))
    return url


class Ledger:
    """Runs by their key. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with _database(f"open the ledger at {_without_password(url)}"):
            self._engine = create_engine(_parsed(url))
            if self._engine.dialect.name == "sqlite":
                _tune_sqlite(self._engine)
            try:
                _Base.metadata.create_all(self._engine)
            except SQLAlchemyError:  # another process may have made the tables at the same moment
                _Base.metadata.create_all(self._engine)

    def record(self, run: StageRun) -> None:
        """Write a run, or leave it as it is when its key is already known."""
        run = replace(run, published_at=run.published_at.astimezone(UTC))
        row = _StageRunRow(**{name: getattr(run, name) for name in StageRun.__slots__})
        with _database(f"record the run of {run.stage}"):
            try:
                with Session(self._engine) as session, session.begin():
                    if session.get(_StageRunRow, run.run_key) is None:
                        session.add(row)
            except IntegrityError:
                if self.find(run.run_key) is None:  # else another process wrote it between the look and the write
                    raise

    def find(self, run_key: str) -> StageRun | None:
        with _database("read the ledger"), Session(self._engine) as session:
            row = session.get(_StageRunRow, run_key)
            return _run(row) if row else None

    def latest(self, stage: str) -> StageRun | None:
        """The last published run of a stage."""
        newest_first = (_StageRunRow.published_at.desc(), _StageRunRow.run_key)
        newest = select(_StageRunRow).where(_StageRunRow.stage == stage).order_by(*newest_first).limit(1)
        with _database("read the ledger"), Session(self._engine) as session:
            row = session.scalars(newest).first()
            return _run(row) if row else None

    def close(self) -> None:
        self._engine.dispose()


def _run(row: _StageRunRow) -> StageRun:
    run = StageRun(**{name: getattr(row, name) for name in StageRun.__slots__})
    if run.published_at.tzinfo is None:  # SQLite keeps no offset; what was written is UTC
        return replace(run, published_at=run.published_at.replace(tzinfo=UTC))
    return replace(run, published_at=run.published_at.astimezone(UTC))


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise StoreError(
            "the ledger's URL cannot be read; write a file name or DIALECT://USER:PASSWORD@HOST/DB"
        ) from None


@contextmanager
def _database(doing: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"cannot {doing}: {error}") from error
    except ImportError as error:
        raise StoreError(f"cannot {doing}: {error}; install the database's driver") from error

"""The catalogue: the one SQL database that holds the ledger and the logs. SQLite by default, PostgreSQL by URL.

Writers take turns, so that a look and a write are one step and sequence numbers follow the order of commits.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DDL,
    URL,
    Connection,
    DateTime,
    Dialect,
    Engine,
    RowMapping,
    Select,
    StaticPool,
    TypeDecorator,
    create_engine,
    event,
    func,
    inspect,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session

from facestore.errors import StoreError

_ROWS_AT_ONCE = 4_096  # that are read, or asked for by id
_SQLITE_FILE = "sqlite:///"
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")
_PATIENCE_S = 60.0  # with other writers of a SQLite file
_PRAGMAS = (f"busy_timeout={_PATIENCE_S * 1_000:.0f}", "journal_mode=WAL", "secure_delete=ON", "foreign_keys=ON")
_WRITERS_LOCK = 0x_FACE_100B  # PostgreSQL's name for our turn to write

# An erasure that the law demands will need a door of its own (drop the trigger, delete, put it back, in one
# transaction); nothing here opens one.
_APPEND_ONLY: dict[str, tuple[str, ...]] = {
    "sqlite": (
        "CREATE TRIGGER {name}_no_update BEFORE UPDATE ON {name} BEGIN SELECT RAISE(ABORT, '{says}'); END",
        "CREATE TRIGGER {name}_no_delete BEFORE DELETE ON {name} BEGIN SELECT RAISE(ABORT, '{says}'); END",
        # INSERT OR REPLACE deletes without asking the trigger above
        """CREATE TRIGGER {name}_no_replace BEFORE INSERT ON {name}
        WHEN EXISTS (SELECT 1 FROM {name} WHERE {key} = NEW.{key} OR seq = NEW.seq)
        BEGIN SELECT RAISE(ABORT, '{says}'); END""",
    ),
    "postgresql": (
        """CREATE OR REPLACE FUNCTION {name}_append_only() RETURNS trigger AS
        $$ BEGIN RAISE EXCEPTION '{says}'; END $$ LANGUAGE plpgsql""",
        """CREATE TRIGGER {name}_no_change BEFORE UPDATE OR DELETE ON {name}
        FOR EACH ROW EXECUTE FUNCTION {name}_append_only()""",
        """CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {name}
        FOR EACH STATEMENT EXECUTE FUNCTION {name}_append_only()""",
    ),
}


class Tables(DeclarativeBase):
    """All tables of the catalogue register here."""


class Moment(TypeDecorator[datetime]):
    """A UTC time, to the microsecond. SQLite keeps no offset; what was written is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment


def make_append_only(row: type[Tables], key: str) -> None:
    """Have the database itself refuse to change or remove rows of a table, whose unique column is `key`."""
    name, table = row.__tablename__, row.__table__
    for dialect, statements in _APPEND_ONLY.items():
        for statement in statements:
            text = statement.format(name=name, key=key, says=f"{name} is append-only: append what takes it back")
            event.listen(table, "after_create", DDL(text).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]


def open_catalogue(url: str, what: str) -> Engine:
    """The engine at `url`, with every registered table there. `sqlite://` is a database in memory, for tests.

    Raises StoreError, which names `what` was to be opened, when the database cannot be used.
    """
    if url.startswith(_SQLITE_FILE) and url not in _IN_MEMORY:
        Path(url.removeprefix(_SQLITE_FILE)).parent.mkdir(parents=True, exist_ok=True)
    with _database(f"open the {what} at {_without_password(url, what)}"):
        if url in _IN_MEMORY:
            engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        else:
            engine = create_engine(_parsed(url))
        if engine.dialect.name == "sqlite":
            _tune_sqlite(engine)
        if missing_tables(engine):
            with _turn(engine) as session:  # the first of several processes makes them, the others find them made
                Tables.metadata.create_all(session.connection())
    return engine


def missing_tables(engine: Engine) -> set[str]:
    """Registered tables that the database lacks."""
    return set(Tables.metadata.tables) - set(inspect(engine).get_table_names())


@contextmanager
def reading(engine: Engine, doing: str) -> Iterator[Session]:
    """A session to read with; each question sees one state of the database. Raises StoreError: cannot `doing`."""
    with _database(doing), Session(engine) as session:
        yield session


def streamed(engine: Engine, rows: Select[Any], doing: str) -> Iterator[RowMapping]:
    """Rows of one question, a few thousand in memory. Raises StoreError: cannot `doing`."""
    with (
        reading(engine, doing) as session,
        session.execute(rows.execution_options(yield_per=_ROWS_AT_ONCE)) as result,
    ):
        yield from result.mappings()


@contextmanager
def writing(engine: Engine, doing: str) -> Iterator[Session]:
    """A transaction that no other writer runs beside: all of it is kept, or after any error or crash none.

    Raises StoreError: cannot `doing`.
    """
    with _database(doing), _turn(engine) as session:
        yield session


def known_ids(session: Session, column: InstrumentedAttribute[str], wanted: Collection[str]) -> set[str]:
    """Those of the wanted ids that the column holds."""
    found: set[str] = set()
    ids = sorted(wanted)
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        found.update(session.scalars(select(column).where(column.in_(ids[start : start + _ROWS_AT_ONCE]))))
    return found


def database_now(session: Session) -> datetime:
    """The time by the database's clock, UTC: processes on several machines agree on it."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime = session.scalars(select(func.clock_timestamp())).one()
        return moment.astimezone(UTC)
    text: str = session.scalars(select(func.strftime("%Y-%m-%dT%H:%M:%f+00:00", "now"))).one()
    return datetime.fromisoformat(text)


@contextmanager
def _turn(engine: Engine) -> Iterator[Session]:
    with Session(engine.execution_options(is_writing=True)) as session, session.begin():
        if engine.dialect.name == "postgresql":
            session.execute(select(func.pg_advisory_xact_lock(_WRITERS_LOCK)))
        yield session


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, so that tables are made in a transaction too
        for pragma in _PRAGMAS:
            _wait_and_set(connection, pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A reader that turns writer cannot wait for its turn; a writer says so at once.
        kind = "IMMEDIATE" if connection.get_execution_options().get("is_writing") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {kind}")


def _wait_and_set(connection: sqlite3.Connection, pragma: str) -> None:
    """Where several open a new file at once, SQLite says that it is locked without the wait that it was told of."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)


def _parsed(url: str) -> URL | str:
    """A SQLite path is taken as it is: a folder may have any name, `?` and `#` too."""
    if url.startswith(_SQLITE_FILE):
        return URL.create("sqlite", database=url.removeprefix(_SQLITE_FILE))
    return url


def _without_password(url: str, what: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        raise StoreError(
            f"the {what}'s URL cannot be read; write a file name or DIALECT://USER:PASSWORD@HOST/DB"
        ) from None


@contextmanager
def _database(doing: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreError(f"cannot {doing}: {error}") from error
    except ImportError as error:
        raise StoreError(f"cannot {doing}: {error}; install the database's driver") from error

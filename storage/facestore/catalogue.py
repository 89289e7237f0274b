"""The catalogue: the one SQL database that holds the ledger and the logs. SQLite by default, PostgreSQL by URL.

Writers take turns, so that a look and a write are one step and sequence numbers follow the order of commits.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    RowMapping,
    Select,
    StaticPool,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import InstrumentedAttribute, Session

from facestore.errors import StoreAway, StoreError
from facestore.pgaddress import verified
from facestore.schema import Moment as Moment
from facestore.schema import Tables as Tables
from facestore.schema import is_settled, settle
from facestore.schema import make_append_only as make_append_only

Result = TypeVar("Result")
_ROWS_AT_ONCE = 4_096  # that are read, or asked for by id
_SQLITE_FILE = "sqlite:///"
_IN_MEMORY = ("sqlite://", "sqlite:///:memory:")
_PATIENCE_S = 60.0  # with other writers of a SQLite file
_PRAGMAS = (f"busy_timeout={_PATIENCE_S * 1_000:.0f}", "journal_mode=WAL", "secure_delete=ON", "foreign_keys=ON")
_ATTEMPTS = 4  # at a transaction that the database threw out for the sake of others
_THROWN_OUT = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock
_AWAY = {  # and all of class 08, connection exceptions (PostgreSQL, Appendix A)
    *_THROWN_OUT,
    "53300",  # too many connections
    "55P03",  # lock not available
    "57P01",  # shut down by its administrator
    "57P02",  # after a crash
    "57P03",  # starting up, or not taking connections
}
_NOT_YET = ("starting up", "shutting down", "in recovery", "not yet accepting", "too many clients", "connection slots")
_WRITERS_LOCK = 0x_FACE_100B  # PostgreSQL's name for our turn to write


def open_catalogue(url: str, what: str) -> Engine:
    """The engine at `url`, with every table there. `sqlite://` is a database in memory, for tests.

    Raises StoreError, which names `what` was to be opened, when the database cannot be used (StoreAway: now);
    SchemaRefused when its tables are of another revision than this version's.
    """
    engine = connected(url, what)
    try:
        with _database(f"open the {what} at {_without_password(url, what)}"):
            with engine.connect() as connection:
                is_ready = is_settled(connection)
            if not is_ready:
                with _turn(engine) as session:  # the first of several processes makes them, the others find them made
                    settle(session.connection(), what)
    except StoreError:
        engine.dispose()
        raise
    return engine


def connected(url: str, what: str) -> Engine:
    """The engine at `url`, whatever tables are there: for who changes or copies them. Raises StoreError.

    Its errors hold no values of rows: these name people, or are keys, and errors are logged. ConfigError where anybody
    could answer in the place of a server elsewhere.
    """
    if url.startswith(_SQLITE_FILE) and url not in _IN_MEMORY:
        Path(url.removeprefix(_SQLITE_FILE)).parent.mkdir(parents=True, exist_ok=True)
    with _database(f"open the {what} at {_without_password(url, what)}"):
        if url in _IN_MEMORY:
            in_one_place = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
            engine = create_engine("sqlite://", hide_parameters=True, **in_one_place)
        elif url.startswith("sqlite"):
            engine = create_engine(_parsed(url), hide_parameters=True)
        else:  # a server that was started anew is not noticed without the ping
            engine = create_engine(verified(url, os.environ), pool_pre_ping=True, hide_parameters=True)
        if engine.dialect.name == "sqlite":
            _tune_sqlite(engine)
    return engine


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

    Raises StoreError: cannot `doing`; StoreAway where it may go through later.
    """
    with _database(doing), _turn(engine) as session:
        yield session


def in_transaction(engine: Engine, doing: str, work: Callable[[Session], Result]) -> Result:
    """What `work` returns in a transaction as `writing` gives it, run whole again where PostgreSQL threw it out.

    Writers take turns, so only a session from elsewhere (a person's, a backup's) can be in a deadlock with one of ours.
    `work` must touch nothing but its session, and write by ids: after a lost connection the caller may come again too.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            with writing(engine, doing) as session:
                return work(session)
        except StoreError as error:
            if not _is_thrown_out(error.__cause__):
                raise
    with writing(engine, doing) as session:
        return work(session)


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


def _is_thrown_out(cause: BaseException | None) -> bool:
    return getattr(getattr(cause, "orig", None), "sqlstate", None) in _THROWN_OUT


def _is_away(error: SQLAlchemyError) -> bool:
    """Whether the same call may go through later: no server there, one that starts or ends, others that hold it."""
    if isinstance(error, NoConnectionFree):
        return True
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    state = getattr(cause, "sqlstate", None)
    if state is not None:
        return state in _AWAY or state.startswith("08")
    if type(cause).__name__ not in ("OperationalError", "ConnectionTimeout"):
        return False
    # libpq gives no code while it connects. A server that answers and refuses (password, database) says FATAL.
    said = str(cause)
    if "FATAL:" in said:
        return any(words in said for words in _NOT_YET)
    return "SSL" not in said and "certificate" not in said


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


def _without_values(said: str) -> str:
    """PostgreSQL tells a failing row behind DETAIL."""
    return "\n".join(line for line in said.splitlines() if not line.lstrip().startswith("DETAIL:"))


@contextmanager
def _database(doing: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        kind = StoreAway if _is_away(error) else StoreError
        raise kind(f"cannot {doing}: {_without_values(str(error))}") from error
    except ImportError as error:
        raise StoreError(f"cannot {doing}: {error}; install the database's driver") from error

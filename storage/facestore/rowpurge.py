"""The door of an erasure into the catalogue: rows that name somebody go for good, append-only tables included.

Triggers are dropped, rows deleted and triggers put back in one transaction: nobody sees a table that could be changed.
Deleting leaves bytes in free pages and in the log of the database; `compact` rewrites the files without them.
"""

import json
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, and_, delete, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from facestore.catalogue import Tables, connected, open_catalogue, writing
from facestore.erasures import ERASURE_TABLES
from facestore.errors import StoreError
from facestore.schema import load_tables

_TOKEN = re.compile(r"[\w-]+")
_TOKEN_OF_BYTES = re.compile(rb"[\w-]+")
_KEPT = {*ERASURE_TABLES, "lease", "audit_entry", "audit_head"}  # references and counts: no id of a face is in them
_FOLLOWS = {  # table → column that refers to a row of another table, and goes with it; that table, its id
    "decision": ("retracts", "decision", "decision_id"),
    "identity_event": ("undoes", "identity_event", "event_id"),
    "review_task": ("question_id", "question", "question_id"),
    "review_annotation": ("question_id", "question", "question_id"),
    "review_settlement": ("question_id", "question", "question_id"),
}
_ROWS_AT_ONCE = 4_096
_LOCK_PATIENCE_S = 60


def rows_naming(url: str, ids: Collection[str]) -> dict[str, int]:
    """How many rows of each table name one of the ids, in any column. Tables without any are left out."""
    engine = open_catalogue(url, "catalogue")
    try:
        with engine.connect() as connection:
            counts = {each.name: len(_named(connection, each, set(ids))) for each in _tables(connection)}
    finally:
        engine.dispose()
    return {name: count for name, count in counts.items() if count}


def purge_rows(url: str, ids: Collection[str]) -> dict[str, int]:
    """Remove every row that names one of the ids, and rows that only speak of such a row; returns how many by table.

    One transaction: after a crash all of them are there, or none. Raises StoreError.
    """
    engine = open_catalogue(url, "catalogue")
    try:
        with writing(engine, "erase rows") as session:
            connection = session.connection()
            tables = _tables(connection)
            going = {each.name: _named(connection, each, set(ids)) for each in tables}
            for each in tables:  # referred ones stand before those that refer
                _follow(connection, each, going)
            removed = {}
            for each in reversed(tables):
                if rows := list(going[each.name].values()):
                    with_triggers = _open_door(connection, each.name)
                    _remove(connection, each, rows)
                    for statement in with_triggers:
                        connection.execute(text(statement.replace(":", r"\:")))
                    removed[each.name] = len(rows)
    finally:
        engine.dispose()
    return dict(sorted(removed.items()))


def compact(url: str, tables: Collection[str] = ()) -> str:
    """Rewrite the database's files without what was deleted; says what an operator has to do besides, else empty.

    SQLite: VACUUM, and the write-ahead log cut to nothing. PostgreSQL: VACUUM FULL of `tables` (default: all), then the
    values that its planner sampled and the segments of its log are let go, which asks for an owner of the database and
    for a superuser. Raises StoreError.
    """
    engine = connected(url, "catalogue")
    try:
        if engine.dialect.name == "sqlite":
            return _compact_sqlite(engine)
        with engine.connect() as plain:
            connection = plain.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"SET lock_timeout = '{_LOCK_PATIENCE_S}s'"))
            known = {each.name for each in _tables(connection)}
            for name in sorted(set(tables) & known or known):
                connection.execute(text(f'VACUUM (FULL, ANALYZE) "{name}"'))  # samples of rows that are gone go too
            return "; ".join(said for said in (_let_go_of_samples(connection), _let_go_of_log(connection)) if said)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(f"cannot compact the catalogue: {error}; end what uses it, then run again") from error
    finally:
        engine.dispose()


def vacuum_file(path: Path) -> str:
    """VACUUM of a SQLite file that may be another program's; says what is to be done besides, else empty.

    Raises StoreError where it stays locked for a minute, or the disk fails.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_LOCK_PATIENCE_S)) as connection:
            return _vacuum(connection)
    except sqlite3.Error as error:
        raise StoreError(f"cannot vacuum {path.name}: {error}; end what uses it, then run again") from error


def _compact_sqlite(engine: Engine) -> str:
    raw = engine.raw_connection()
    try:
        driver: Any = raw.driver_connection
        return _vacuum(driver)
    finally:
        raw.close()


def _vacuum(connection: sqlite3.Connection) -> str:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("VACUUM")
    is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 1
    return "close whatever has the database open, then run this again: its write-ahead log is in use" if is_busy else ""


def _let_go_of_samples(connection: Connection) -> str:
    """The most frequent values of each column stand in a table of the server's, and old ones in its dead rows."""
    may = connection.scalar(
        text("SELECT pg_has_role(current_user, datdba, 'USAGE') FROM pg_database WHERE datname = current_database()")
    )
    if not may:
        return "as the owner of the database: VACUUM FULL pg_statistic"
    connection.execute(text("VACUUM FULL pg_statistic"))
    return ""


def _let_go_of_log(connection: Connection) -> str:
    is_superuser = connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    if not is_superuser:
        return (
            "the write-ahead log of the PostgreSQL server still holds the rows; as a superuser: ALTER SYSTEM SET "
            "wal_recycle = off; SELECT pg_reload_conf(); then three times SELECT pg_switch_wal(); CHECKPOINT; then "
            "ALTER SYSTEM RESET wal_recycle; SELECT pg_reload_conf()"
        )
    connection.execute(
        text("ALTER SYSTEM SET wal_recycle = off")
    )  # else an old segment keeps its bytes under a new name
    connection.execute(text("SELECT pg_reload_conf()"))
    try:
        for _ in range(3):
            connection.execute(text("SELECT pg_switch_wal()"))
            connection.execute(text("CHECKPOINT"))
    finally:
        connection.execute(text("ALTER SYSTEM RESET wal_recycle"))
        connection.execute(text("SELECT pg_reload_conf()"))
    return (
        "replicas, log archives and backups of the PostgreSQL server, and the log of its statements, hold "
        "what they held: remove them by their rules"
    )


def _tables(connection: Connection) -> list[Table]:
    load_tables()
    there = set(inspect(connection).get_table_names())
    return [each for each in Tables.metadata.sorted_tables if each.name in there and each.name not in _KEPT]


def _raw_rows(connection: Connection, each: Table) -> Iterator[Mapping[str, Any]]:
    result = connection.exec_driver_sql(
        f'SELECT * FROM "{each.name}"',  # noqa: S608  # a declared name
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    for row in result.mappings():
        yield dict(row)


def _named(connection: Connection, each: Table, ids: set[str]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    keys = [column.name for column in each.primary_key.columns]
    return {
        tuple(row[key] for key in keys): row
        for row in _raw_rows(connection, each)
        if any(not ids.isdisjoint(_words(value)) for value in row.values())
    }


def _words(value: object) -> list[str]:
    if isinstance(value, bytes | bytearray | memoryview):
        return [word.decode("ascii") for word in _TOKEN_OF_BYTES.findall(bytes(value))]
    if isinstance(value, list | dict):
        value = json.dumps(value)
    return _TOKEN.findall(value) if isinstance(value, str) else []


def _follow(connection: Connection, each: Table, going: dict[str, dict[tuple[Any, ...], Mapping[str, Any]]]) -> None:
    """Rows that take back, undo or answer what goes: once more for those that they bring."""
    if each.name not in _FOLLOWS:
        return
    column, referred, referred_id = _FOLLOWS[each.name]
    keys = [key.name for key in each.primary_key.columns]
    while True:
        targets = {row[referred_id] for row in going[referred].values()}
        more = {tuple(row[key] for key in keys): row for row in _raw_rows(connection, each) if row[column] in targets}
        before = len(going[each.name])
        going[each.name].update(more)
        if referred != each.name or len(going[each.name]) == before:
            return


def _open_door(connection: Connection, name: str) -> list[str]:
    """Take the guards of an append-only table away; returns what puts them back, in this transaction."""
    if connection.dialect.name == "postgresql":
        guards = connection.execute(
            text("SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:name) AND NOT tgisinternal"),
            {"name": name},
        )
        names = [str(guard[0]) for guard in guards]
        for guard in names:
            connection.execute(text(f'ALTER TABLE "{name}" DISABLE TRIGGER "{guard}"'))
        return [f'ALTER TABLE "{name}" ENABLE TRIGGER "{guard}"' for guard in names]
    guards = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :name"), {"name": name}
    )
    found = [(str(guard[0]), str(guard[1])) for guard in guards]
    for guard, _ in found:
        connection.execute(text(f'DROP TRIGGER "{guard}"'))
    return [statement for _, statement in found]


def _remove(connection: Connection, each: Table, rows: list[Mapping[str, Any]]) -> None:
    for row in rows:
        connection.execute(
            delete(each).where(and_(*(column == row[column.name] for column in each.primary_key.columns)))
        )

"""Rows of a whole catalogue: told apart by digests, and moved from one database to another, SQLite or PostgreSQL."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    Insert,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    inspect,
    select,
    type_coerce,
)
from sqlalchemy import column as named_column
from sqlalchemy import table as named_table

from facestore.catalogue import Tables, connected, open_catalogue, reading, writing
from facestore.errors import SchemaRefused, StoreError
from facestore.schema import HEAD, load_tables, revision_of

_ROWS_AT_ONCE = 2_048
_DIGEST_SPACE = 1 << 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TableState:
    """What a table holds. `digest`: 64 hex digits of all rows in whatever order, the same on both databases."""

    name: str
    rows: int
    digest: str


def table_states(connection: Connection) -> tuple[TableState, ...]:
    """Every table of the catalogue as the connection's transaction sees it, by name."""
    return tuple(sorted((_state(connection, each) for each in _tables(connection)), key=lambda state: state.name))


def begin_snapshot(connection: Connection) -> None:
    """Have every question of the connection's new transaction see one state of the database. SQLite does so anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def copy_catalogue(source_url: str, target_url: str) -> tuple[TableState, ...]:
    """Copy every row into an empty or new database, in one transaction, and compare both sides by digests.

    Writers of the source go on meanwhile: what is copied is its state at the start. Raises StoreError where the target
    holds rows or differs afterwards (nothing is kept then), SchemaRefused where the source is of another revision.
    """
    source = existing(source_url)
    try:
        target = open_catalogue(target_url, "catalogue to copy to")
        try:
            with reading(source, "read the catalogue to copy") as read, writing(target, "copy the catalogue") as write:
                begin_snapshot(read.connection())
                return _copied(read.connection(), write.connection())
        finally:
            target.dispose()
    finally:
        source.dispose()


def existing(url: str) -> Engine:
    """The engine of a catalogue that is there. Raises StoreError where none is, SchemaRefused for another revision."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise StoreError(f"there is no catalogue at {url}; give the URL of one, or the root that it belongs to")
    load_tables()
    engine = connected(url, "catalogue")
    try:
        with reading(engine, "read the catalogue's revision") as session:
            revision = revision_of(session.connection())
        if revision != HEAD:
            raise SchemaRefused(
                f"the catalogue is at revision {revision} of its tables and this needs {HEAD}; "
                "run `faceloop catalogue migrate`"
            )
    except StoreError:
        engine.dispose()
        raise
    return engine


def require_same(expected: Sequence[TableState], found: Sequence[TableState], what: str) -> None:
    """Raises StoreError, which names the first table that differs and `what` was done."""
    known = {state.name: state for state in found}
    for state in expected:
        other = known.get(state.name)
        if other != state:
            rows = "no such table" if other is None else f"{other.rows} rows"
            raise StoreError(f"{what}: table {state.name} should hold {state.rows} rows and holds {rows}, or others")


def _copied(source: Connection, target: Connection) -> tuple[TableState, ...]:
    tables = _tables(source)
    for each in tables:
        if target.scalar(select(func.count()).select_from(each)):
            raise StoreError(f"the target holds rows already (table {each.name}); give an empty or a new database")
    for each in tables:
        rows = _rows(source, each)
        statement = _raw_insert(each, target.dialect.name)
        while some := [_named(row) for row in islice(rows, _ROWS_AT_ONCE)]:
            target.execute(statement, some)
        if target.dialect.name == "postgresql":
            _set_sequence(target, each)
    states = table_states(source)
    require_same(states, table_states(target), "the copy is not what it was made from; nothing was kept")
    return states


def _tables(connection: Connection) -> list[Table]:
    """Those that are there, referred ones before those that refer to them."""
    load_tables()
    there = set(inspect(connection).get_table_names())
    return [each for each in Tables.metadata.sorted_tables if each.name in there]


def _state(connection: Connection, each: Table) -> TableState:
    """The sum of the rows' sha256: neither order nor collation counts, and no row can be doubled unseen."""
    total, rows = 0, 0
    parsed = {at.name for at in each.columns if isinstance(at.type, JSON)}
    for row in _rows(connection, each):
        values = {
            name: [json.loads(value)] if name in parsed and value is not None else _plain(value)
            for name, value in row.items()
        }
        body = json.dumps(values, sort_keys=True)
        total += int.from_bytes(hashlib.sha256(body.encode()).digest(), "big")
        rows += 1
    return TableState(name=each.name, rows=rows, digest=f"{total % _DIGEST_SPACE:064x}")


def _rows(connection: Connection, each: Table) -> Iterator[dict[str, Any]]:
    """JSON as text, as it was written: a null in it is not the same as none."""
    is_server = connection.dialect.name == "postgresql"
    texts = {at.name for at in each.columns if isinstance(at.type, JSON)}
    columns = [
        at if at.name not in texts else (cast(at, Text) if is_server else type_coerce(at, Text)).label(at.name)
        for at in each.columns
    ]
    for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(select(*columns)).mappings():
        yield {name: _json_text(value) if name in texts else value for name, value in row.items()}


def _json_text(value: Any) -> str | None:
    """SQLite takes a text that is a number for the number, in a column that it does not know the type of."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _raw_insert(each: Table, dialect: str) -> Insert:
    if dialect == "postgresql":
        texts = [at for at in each.columns if isinstance(at.type, JSON)]
        return insert(each).values(
            {at.name: cast(bindparam(f"in_{at.name}", type_=Text()), at.type) for at in texts}
            | {at.name: bindparam(f"in_{at.name}", type_=at.type) for at in each.columns if at not in texts}
        )
    columns = [named_column(at.name, Text() if isinstance(at.type, JSON) else at.type) for at in each.columns]
    plain = named_table(each.name, *columns)
    return insert(plain).values({at.name: bindparam(f"in_{at.name}", type_=at.type) for at in plain.columns})


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"in_{name}": value for name, value in row.items()}


def _set_sequence(target: Connection, each: Table) -> None:
    """A server counts on from where it stood, not from the rows that it was given."""
    for at in each.primary_key.columns:
        sequence = target.scalar(select(func.pg_get_serial_sequence(each.name, at.name)))
        newest = target.scalar(select(func.max(at))) if sequence else None
        if newest is not None:
            target.execute(select(func.setval(sequence, newest)))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, float):
        return value + 0.0  # SQLite keeps no sign of zero
    return value


def differing(one: Sequence[TableState], other: Sequence[TableState]) -> Iterator[str]:
    """Names of the tables that differ, in order."""
    before, after = ({state.name: state for state in states} for states in (one, other))
    yield from (name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name))

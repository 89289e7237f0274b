"""The catalogue's schema: all tables, which the database itself guards, and which revision of them a database has.

A new database is made whole, at the newest revision; one of an older or a newer revision is refused, for only
`faceloop catalogue migrate` changes tables that hold rows.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import (
    DDL,
    Connection,
    DateTime,
    Dialect,
    Select,
    TypeDecorator,
    column,
    create_mock_engine,
    event,
    inspect,
    select,
    table,
)
from sqlalchemy.orm import DeclarativeBase

from facestore.errors import SchemaRefused

REVISIONS = ("0001",)  # of migrations/versions, oldest first
FIRST, HEAD = REVISIONS[0], REVISIONS[-1]
REVISION_TABLE = "faceloop_revision"
TABLE_HOMES = (  # modules of this package that declare tables
    "activities",
    "announcements",
    "auditlog",
    "consents",
    "decisionlog",
    "erasures",
    "identitylog",
    "intake",
    "jobs",
    "leases",
    "ledger",
    "measurements",
    "models",
    "peppers",
    "promotions",
    "reviewtables",
    "runlog",
)
# As Alembic makes it.
_MAKE_REVISION_TABLE = (
    f"CREATE TABLE {REVISION_TABLE} (version_num VARCHAR(32) NOT NULL, "
    f"CONSTRAINT {REVISION_TABLE}_pkc PRIMARY KEY (version_num))"
)
_REVISION = table(REVISION_TABLE, column("version_num"))

# An erasure that the law demands has a door of its own, `rowpurge`; nothing here opens one.
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
    name, declared = row.__tablename__, row.__table__
    for dialect, statements in _APPEND_ONLY.items():
        for statement in statements:
            text = statement.format(name=name, key=key, says=f"{name} is append-only: append what takes it back")
            event.listen(declared, "after_create", DDL(text).execute_if(dialect=dialect))  # type: ignore[no-untyped-call]


def load_tables() -> None:
    """Have every table declared, whatever this process imported so far."""
    for home in TABLE_HOMES:
        import_module(f"facestore.{home}")


def declared_statements(dialect: str) -> tuple[str, ...]:
    """What makes every table as it is declared, its indexes and triggers, in order. `dialect`: sqlite | postgresql."""
    load_tables()
    made: list[str] = []

    def note(statement: Any, *_: Any, **__: Any) -> None:
        lines = str(statement.compile(dialect=engine.dialect)).expandtabs(4).splitlines()
        made.append("\n".join(line.rstrip() for line in lines if line.strip()))

    engine = create_mock_engine(f"{dialect}://", note)
    homes = {f"facestore.{home}" for home in TABLE_HOMES}  # a test may have declared others
    ours = {mapper.local_table for mapper in Tables.registry.mappers if mapper.class_.__module__ in homes}
    for declared in Tables.metadata.sorted_tables:
        if declared in ours:
            Tables.metadata.create_all(engine, tables=[declared], checkfirst=False)
    return tuple(_indexes_sorted(made))


def _indexes_sorted(statements: list[str]) -> Iterator[str]:
    """A table's indexes are a set: each process has them in another order."""
    for are_indexes, some in groupby(statements, key=lambda statement: " INDEX " in statement.partition(" ON ")[0]):
        found = list(some)
        yield from sorted(found) if are_indexes else found


@cache
def first_statements(dialect: str) -> tuple[str, ...]:
    """What makes the tables of the first revision, as it was frozen (migrations/freeze.py)."""
    return tuple(first_file(dialect).read_text(encoding="utf-8").strip().split("\n\n"))


def first_file(dialect: str) -> Path:
    return Path(__file__).parent / "migrations" / "versions" / f"{FIRST}_schema.{dialect}.sql"


def is_settled(connection: Connection) -> bool:
    """Whether the database is at the newest revision and has every declared table. Cheap: asked at every opening."""
    there = set(inspect(connection).get_table_names())
    return _revision(connection, there) == HEAD and there >= set(Tables.metadata.tables)


def settle(connection: Connection, what: str) -> None:
    """Make a new database whole, adopt one from before there were revisions; the caller holds the turn to write.

    A table that is declared and that no revision knows is made as it is declared. Raises SchemaRefused for a database
    of another revision, which stays as it is; `what` names it.
    """
    there = set(inspect(connection).get_table_names())
    revision = _revision(connection, there)
    if revision is None:
        if not there.isdisjoint(Tables.metadata.tables):  # from before there were revisions
            load_tables()
            _refuse_other_columns(connection, there, what)
            Tables.metadata.create_all(connection)
        else:
            for statement in first_statements(connection.dialect.name):
                run_statement(connection, statement)
        run_statement(connection, _MAKE_REVISION_TABLE)
        connection.execute(_REVISION.insert(), {"version_num": FIRST})
        if HEAD != FIRST:
            import_module("facestore.migrations").upgrade(connection)
    elif revision != HEAD:
        raise SchemaRefused(_why_not(revision, what))
    if missing := set(Tables.metadata.tables) - set(inspect(connection).get_table_names()):
        Tables.metadata.create_all(connection, tables=[Tables.metadata.tables[name] for name in sorted(missing)])


def revision_of(connection: Connection) -> str | None:
    """The revision of a database's tables; None for a new database, and one from before there were revisions."""
    return _revision(connection, set(inspect(connection).get_table_names()))


def run_statement(connection: Connection, statement: str) -> None:
    """Run a statement as it is written."""
    connection.execution_options(no_parameters=True).exec_driver_sql(statement)


def _revision(connection: Connection, there: set[str]) -> str | None:
    if REVISION_TABLE not in there:
        return None
    question: Select[Any] = select(_REVISION.c.version_num)
    return str(connection.scalars(question).first())


def _why_not(revision: str, what: str) -> str:
    if revision in REVISIONS:
        return (
            f"the {what} is at revision {revision} of its tables and this version needs {HEAD}; run `faceloop "
            "catalogue backup`, then `faceloop catalogue migrate`"
        )
    return (
        f"the {what} is at revision {revision} of its tables, which this version does not know (it knows up to "
        f"{HEAD}); install the version that migrated it"
    )


def _refuse_other_columns(connection: Connection, there: set[str], what: str) -> None:
    """A database without a revision is taken for what we made; tables of other columns were made by something else."""
    for name, declared in sorted(Tables.metadata.tables.items()):
        if name in there:
            found = {str(each["name"]) for each in inspect(connection).get_columns(name)}
            if lacking := sorted({each.name for each in declared.columns} - found):
                raise SchemaRefused(
                    f"table {name} of the {what} has no column {lacking[0]}, and nothing says how it was made; open it "
                    "with the version that made it, or start with another database"
                )

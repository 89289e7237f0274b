"""Revisions of the catalogue's tables: new, adopted, refused, migrated; on both databases."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from facestore import migrations, schema
from facestore.catalogue import connected, open_catalogue, writing
from facestore.decisionlog import DecisionLog
from facestore.decisions import decide
from facestore.errors import SchemaRefused, StoreError
from facestore.ledger import Ledger
from facestore.migrations import migrate
from facestore.migrations.freeze import freeze

from .later_revision import later_revisions

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return later_revisions(tmp_path / "100% later")


def _say(url: str, face: str) -> None:
    log = DecisionLog(url)
    log.append([decide("ignore", face_id=face, annotator="ann", decided_at=NOON)])
    log.close()


def _faces(url: str) -> list[str]:
    engine = connected(url, "log")
    with engine.connect() as connection:
        found = [str(face) for face in connection.scalars(text("SELECT face_id FROM decision ORDER BY seq"))]
    engine.dispose()
    return found


def _described(url: str) -> list[tuple[str, ...]]:
    """Columns, defaults, keys, indexes and triggers, as the database itself describes them."""
    engine = create_engine(url)
    questions = (
        ["SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"]
        if engine.dialect.name == "sqlite"
        else [
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns",
            "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
            "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint",
            "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        ]
    )
    with engine.connect() as connection:
        rows = [row for question in questions for row in connection.execute(text(question))]
    engine.dispose()
    return sorted(tuple("".join(str(value).split()).lower() for value in row) for row in rows)


def test_every_module_that_declares_a_table_is_known() -> None:
    folder = Path(schema.__file__).parent
    declaring = {path.stem for path in folder.glob("*.py") if "(Tables):" in path.read_text(encoding="utf-8")}
    assert declaring == set(schema.TABLE_HOMES), "name it in TABLE_HOMES of schema.py"


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_newest_revision_is_what_is_declared(dialect: str) -> None:
    if schema.HEAD != schema.FIRST:
        pytest.skip("later revisions are compared on a database")
    assert schema.declared_statements(dialect) == schema.first_statements(dialect), (
        "run python -m facestore.migrations.freeze"
    )


def test_the_revisions_are_those_that_alembic_finds() -> None:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert tuple(found.revision for found in script.walk_revisions())[::-1] == schema.REVISIONS


def test_the_first_revision_is_frozen_once_there_is_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facestore.migrations.freeze.REVISIONS", ("0001", "0002"))
    with pytest.raises(ValueError, match="history"):
        freeze()


def test_made_whole_adopted_and_upgraded_from_nothing_are_the_same(own_url: str, tmp_path: Path) -> None:
    from alembic import command

    open_catalogue(own_url, "log").dispose()
    made = _described(own_url)
    assert any("no_update" in str(row) or "no_change" in str(row) for row in made)
    engine = connected(own_url, "log")
    with writing(engine, "start anew") as session:
        _drop_everything(session.connection())
    with writing(engine, "upgrade from nothing") as session:
        command.upgrade(migrations._config(session.connection(), None), "head")
    assert _described(own_url) == made
    with writing(engine, "forget the revision and a table") as session:
        session.execute(text(f"DROP TABLE {schema.REVISION_TABLE}"))
        session.execute(text("DROP TABLE finding"))
    engine.dispose()
    open_catalogue(own_url, "log").dispose()
    assert _described(own_url) == made


def _drop_everything(connection: Connection) -> None:
    schema.load_tables()
    schema.Tables.metadata.drop_all(connection)
    connection.execute(text(f"DROP TABLE {schema.REVISION_TABLE}"))


def test_alembic_finds_nothing_to_change_in_a_new_database(own_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = open_catalogue(own_url, "log")
    schema.load_tables()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.REVISION_TABLE})
        assert compare_metadata(context, schema.Tables.metadata) == []
    engine.dispose()


def test_up_and_down_and_up_again_keeps_every_row(own_url: str, second: Path) -> None:
    _say(own_url, "f1")
    assert migrate(own_url, to="0002", versions=second).after == "0002"
    assert _faces(own_url) == ["f1"]
    assert migrate(own_url, to="0001", versions=second).before == "0002"
    _say(own_url, "f2")
    migrate(own_url, to="0002", versions=second)
    assert _faces(own_url) == ["f1", "f2"]
    assert migrate(own_url, to="0001", versions=second).after == "0001"
    engine = connected(own_url, "log")
    with pytest.raises(StoreError, match="append-only"), writing(engine, "delete") as session:
        session.execute(text("DELETE FROM decision"))
    engine.dispose()


def test_a_newer_database_is_refused_by_older_code_and_stays_as_it_is(own_url: str, second: Path) -> None:
    _say(own_url, "f1")
    migrate(own_url, to="0002", versions=second)
    before = _described(own_url)
    with pytest.raises(SchemaRefused, match=r"does not know.*install the version"):
        Ledger(own_url)
    with pytest.raises(SchemaRefused, match="revision 0002 is not known here"):
        migrate(own_url)
    assert _described(own_url) == before


def test_an_older_database_is_refused_by_newer_code_which_says_what_to_run(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _say(own_url, "f1")
    monkeypatch.setattr(schema, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(schema, "HEAD", "0002")
    with pytest.raises(SchemaRefused, match="faceloop catalogue migrate"):
        Ledger(own_url)


def test_a_revision_that_fails_changes_nothing(own_url: str, second: Path) -> None:
    _say(own_url, "f1")
    before = _described(own_url)
    later_revisions(second, is_broken=True)
    with pytest.raises(RuntimeError, match="half way"):
        migrate(own_url, to="0002", versions=second)
    assert _described(own_url) == before
    _say(own_url, "f2")


def test_below_the_first_revision_nobody_gets(own_url: str, second: Path) -> None:
    _say(own_url, "f1")
    migrate(own_url, to="0002", versions=second)
    with pytest.raises(SchemaRefused, match="restore a backup"):
        migrate(own_url, to="base", versions=second)
    assert _faces(own_url) == ["f1"]


def test_tables_of_other_columns_are_not_taken_for_ours(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE stage_run (run_key TEXT PRIMARY KEY)")
    with pytest.raises(SchemaRefused, match="has no column"):
        Ledger(sqlite_url)


def test_opening_loads_neither_alembic_nor_the_other_tables(sqlite_url: str) -> None:
    program = (
        f"import sys; from facestore.ledger import Ledger; Ledger({sqlite_url!r}).close(); "
        "print([name for name in ('alembic', 'facestore.decisionlog') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"

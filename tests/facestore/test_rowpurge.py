"""Rows go for good (bar B15): from tables, pages and logs of both databases, while the guards of the others hold."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from facestore import rowpurge
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, decide
from facestore.errors import StoreError
from facestore.ids import sha256_hex
from facestore.rowpurge import compact, purge_rows, rows_naming, vacuum_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOES, STAYS = sha256_hex(b"goes")[:32], sha256_hex(b"stays")[:32]


def write(url: str) -> list[Decision]:
    said = [decide("ignore", face_id=face, annotator="eve", decided_at=NOW) for face in (GOES, STAYS)]
    said.append(decide("retract", retracts=said[0].decision_id, annotator="eve", decided_at=NOW))
    log = DecisionLog(url)
    log.append(said)
    log.close()
    return said


def files_with(folder: Path, face_id: str) -> list[str]:
    return [path.name for path in sorted(folder.rglob("*")) if path.is_file() and face_id.encode() in path.read_bytes()]


def assert_guarded(url: str) -> None:
    engine = create_engine(url)
    try:
        with engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text("DELETE FROM decision"))
    finally:
        engine.dispose()


def check(url: str, folder: Path) -> None:
    said = write(url)
    assert files_with(folder, GOES)
    assert rows_naming(url, [GOES]) == {"decision": 1}
    assert purge_rows(url, [GOES]) == {"decision": 2}  # what it retracts goes with it
    compact(url)
    assert files_with(folder, GOES) == []
    assert purge_rows(url, [GOES]) == {}
    log = DecisionLog(url)
    assert list(log.all()) == [said[1]]
    log.close()
    assert_guarded(url)


def test_a_purged_row_is_in_no_byte_of_a_sqlite_catalogue_and_its_guards_stand(tmp_path: Path) -> None:
    check(f"sqlite:///{tmp_path}/catalogue.sqlite3", tmp_path)


def test_a_vacuumed_file_of_another_program_holds_nothing_that_was_deleted_before(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA secure_delete=OFF")
        other.execute("CREATE TABLE said (face TEXT)")
        other.executemany("INSERT INTO said VALUES (?)", [(GOES,), (STAYS,)])
        other.execute("DELETE FROM said WHERE face = ?", [GOES])
        other.commit()
    assert files_with(tmp_path, GOES)  # the control
    assert vacuum_file(path) == ""
    assert files_with(tmp_path, GOES) == []
    assert files_with(tmp_path, STAYS) == ["other.sqlite3"]
    path.write_bytes(b"no database " * 100)
    with pytest.raises(StoreError, match="cannot vacuum"):
        vacuum_file(path)


def test_an_id_inside_a_column_of_bytes_is_seen() -> None:
    assert rowpurge._words(b"\xe9\x00" + GOES.encode() + b"\x01") == [GOES]
    assert rowpurge._words({"faces": [GOES]}) == ["faces", GOES]


def test_a_catalogue_that_cannot_be_compacted_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.sqlite3"
    write(url)

    def is_full(connection: sqlite3.Connection) -> str:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(rowpurge, "_vacuum", is_full)
    with pytest.raises(StoreError, match="cannot compact the catalogue"):
        compact(url)


@pytest.mark.integration
def test_a_purged_row_is_in_no_byte_of_a_postgresql_data_folder_and_its_guards_stand(own_postgres_url: str) -> None:
    engine = create_engine(own_postgres_url)
    with engine.connect() as connection:
        folder = Path(str(connection.scalar(text("SHOW data_directory"))))
    engine.dispose()
    check(own_postgres_url, folder)


@pytest.mark.integration
def test_without_compacting_a_server_keeps_the_bytes_of_a_purged_row(own_postgres_url: str) -> None:
    write(own_postgres_url)
    engine = create_engine(own_postgres_url)
    with engine.connect() as connection:
        folder = Path(str(connection.scalar(text("SHOW data_directory"))))
    engine.dispose()
    purge_rows(own_postgres_url, [GOES])
    assert files_with(folder, GOES)  # the control: a DELETE is no erasure

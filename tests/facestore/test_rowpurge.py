"""Rows go for good (bar B15): from tables, pages and logs of both databases, while the guards of the others hold."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, decide
from facestore.ids import sha256_hex
from facestore.rowpurge import compact, purge_rows, rows_naming

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

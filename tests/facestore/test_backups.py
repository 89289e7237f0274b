"""Backups, restores and the drill: what was committed when a backup was taken comes back, row for row."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from facestore import backups
from facestore.backups import Backup, back_up, drill, read_backup, restore, states_at
from facestore.catalogue import connected, open_catalogue, writing
from facestore.errors import DataError, StoreError
from facestore.ids import file_sha256
from facestore.ledger import Ledger

from .filling import fill
from .test_ledger import _run


@pytest.fixture
def filled_url(own_url: str) -> str:
    engine = open_catalogue(own_url, "log")
    fill(engine, 5, seed=1)
    engine.dispose()
    return own_url


def test_a_drill_restores_every_table_as_it_was(filled_url: str) -> None:
    before = states_at(filled_url)
    done = drill(filled_url)
    assert done.restored == done.backup.tables == before
    assert done.backup.kind == ("sqlite" if filled_url.startswith("sqlite") else "pg_dump")
    assert states_at(filled_url) == before


def test_a_backup_comes_back_as_a_new_sqlite_catalogue(sqlite_url: str, tmp_path: Path) -> None:
    engine = open_catalogue(sqlite_url, "log")
    fill(engine, 4, seed=2)
    made = back_up(sqlite_url, tmp_path / "backup")
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {"catalogue.sqlite3", "backup.json"}
    assert {path.stat().st_mode & 0o77 for path in (tmp_path / "backup").iterdir()} == {0}
    fill_more = Ledger(sqlite_url)
    fill_more.record(_run("after the backup"))
    fill_more.close()
    engine.dispose()
    target = f"sqlite:///{tmp_path / 'restored' / 'c.sqlite3'}"
    assert restore(tmp_path / "backup", target) == made == read_backup(tmp_path / "backup")
    assert states_at(target) == made.tables
    ledger = Ledger(target)
    assert ledger.find("after the backup") is None
    ledger.close()
    with pytest.raises(StoreError, match="replaces nothing"):
        restore(tmp_path / "backup", target)


def test_nobody_else_reads_a_backup_while_it_is_written(
    filled_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a folder that others may enter."""
    folder, modes = tmp_path / "open", set[int]()
    folder.mkdir(mode=0o755)

    def look() -> None:
        modes.update(file.stat().st_mode & 0o77 for file in folder.iterdir())

    for name in ("dump", "_close_log"):
        monkeypatch.setattr(backups, name, _with(getattr(backups, name), look))
    back_up(filled_url, folder)
    assert modes == {0}


def _with(call: Callable[..., None], then: Callable[[], None]) -> Callable[..., None]:
    def both(*given: object) -> None:
        call(*given)
        then()

    return both


@pytest.mark.integration
def test_a_sqlite_backup_restores_to_postgresql(sqlite_url: str, own_postgres_url: str, tmp_path: Path) -> None:
    engine = open_catalogue(sqlite_url, "log")
    fill(engine, 4, seed=3)
    engine.dispose()
    made = back_up(sqlite_url, tmp_path / "backup")
    restore(tmp_path / "backup", own_postgres_url)
    assert states_at(own_postgres_url) == made.tables
    assert read_backup(tmp_path / "backup") == made  # a restore leaves the backup as it is


@pytest.mark.integration
def test_where_no_pg_dump_is_the_rows_are_copied(
    own_postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "has_programs", lambda: False)
    engine = open_catalogue(own_postgres_url, "log")
    fill(engine, 4, seed=4)
    engine.dispose()
    made = back_up(own_postgres_url, tmp_path / "backup")
    assert made.kind == "sqlite"
    assert made.tables == states_at(own_postgres_url)
    assert drill(own_postgres_url, tmp_path / "backup").restored == made.tables


def test_a_backup_taken_while_others_write_is_one_state(own_url: str, tmp_path: Path) -> None:
    """A writer keeps two tables equal; no backup may see them differ, and what was acknowledged before is in it."""
    engine, stop, acknowledged = open_catalogue(own_url, "log"), threading.Event(), threading.Semaphore(0)
    row = "INSERT INTO {} VALUES ('{:08d}', 0, NULL, CURRENT_TIMESTAMP, 0)"
    place = "INSERT INTO finding (place, state, body) VALUES ('{:08d}', 's', '{{}}')"

    def write() -> None:
        number = 0
        while not stop.is_set():
            with writing(engine, "write") as session:
                session.execute(text(row.format("lease", number)))
                session.execute(text(place.format(number)))
            number += 1
            acknowledged.release()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(3):
            for _ in range(20):
                assert acknowledged.acquire(timeout=60)
            rows = {state.name: state.rows for state in back_up(own_url, tmp_path / f"b{turn}").tables}
            assert rows["lease"] == rows["finding"] >= 20 * (turn + 1)
            assert drill(own_url, tmp_path / f"b{turn}").restored == read_backup(tmp_path / f"b{turn}").tables
    finally:
        stop.set()
        writer.join()
        engine.dispose()


@pytest.mark.parametrize("spoiled", ["catalogue.sqlite3", "backup.json"])
def test_a_spoiled_backup_is_refused(sqlite_url: str, tmp_path: Path, spoiled: str) -> None:
    open_catalogue(sqlite_url, "log").dispose()
    back_up(sqlite_url, tmp_path / "backup")
    path = tmp_path / "backup" / spoiled
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"use another backup|no backup that was finished"):
        drill(sqlite_url, tmp_path / "backup")


def test_a_backup_that_was_cut_short_is_none(sqlite_url: str, tmp_path: Path) -> None:
    open_catalogue(sqlite_url, "log").dispose()
    back_up(sqlite_url, tmp_path / "backup")
    (tmp_path / "backup" / "backup.json").unlink()
    with pytest.raises(DataError, match="no backup that was finished"):
        read_backup(tmp_path / "backup")
    with pytest.raises(StoreError, match="not empty"):
        back_up(sqlite_url, tmp_path / "backup")


def test_a_restore_that_is_not_what_was_backed_up_is_found_out(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: a row goes missing between the comparison's two sides, with the file's hash made to fit."""
    engine = open_catalogue(sqlite_url, "log")
    fill(engine, 2, seed=5)
    engine.dispose()
    back_up(sqlite_url, tmp_path / "backup")
    file = tmp_path / "backup" / "catalogue.sqlite3"
    other = connected(f"sqlite:///{file}", "log")
    with writing(other, "lose a row") as session:
        session.execute(text("DELETE FROM review_hint WHERE hint_id = 1"))
    other.dispose()
    known = read_backup_unchecked(tmp_path / "backup")
    backups._describe(tmp_path / "backup", replace(known, sha256=file_sha256(file)))
    with pytest.raises(StoreError, match="table review_hint should hold 2 rows and holds 1"):
        drill(sqlite_url, tmp_path / "backup")
    monkeypatch.setattr(backups, "require_same", lambda *_: None)
    assert drill(sqlite_url, tmp_path / "backup").restored != read_backup(tmp_path / "backup").tables


def read_backup_unchecked(folder: Path) -> Backup:
    """What a folder says of itself, though its file is another one by now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            backups, "file_sha256", lambda _: json.loads((folder / "backup.json").read_text())["backup"]["sha256"]
        )
        return read_backup(folder)


def test_an_environment_password_never_becomes_a_word_of_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from facestore import pgprograms

    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words; echo "$PGPASSWORD" > {tmp_path}/password\n')
    program.chmod(0o755)
    monkeypatch.setattr(pgprograms, "_FOLDERS", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    pgprograms.dump("postgresql+psycopg://me:h%40sh@db.example:5433/faces?sslmode=verify-full", "s", tmp_path / "f")
    assert "h@sh" not in (tmp_path / "words").read_text()
    assert (tmp_path / "password").read_text() == "h@sh\n"
    assert "--host=db.example --port=5433 --username=me --dbname=faces" in (tmp_path / "words").read_text()

"""Backups of the catalogue, taken while writers go on, and the drill that shows that one can be restored.

A backup is a folder: the rows in one file, and `backup.json`, written last, with the file's sha256 and what each table
held at that moment. Both are for their owner's eyes only: rows name people.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from sqlalchemy import Connection, make_url, text

from facestore.catalogue import connected, database_now, reading
from facestore.errors import DataError, StoreError
from facestore.ids import JsonValue, digest_of, file_sha256
from facestore.pgprograms import dump, has_programs, load
from facestore.publish import sync_path
from facestore.rowcopies import TableState, begin_snapshot, copy_catalogue, existing, require_same, table_states
from facestore.schema import revision_of

BackupKind = Literal["sqlite", "pg_dump"]
DESCRIPTION = "backup.json"
_FILES: dict[BackupKind, str] = {"sqlite": "catalogue.sqlite3", "pg_dump": "catalogue.pgdump"}
_OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a folder holds. `taken_at`, UTC by the database's clock: what was committed before is in it."""

    kind: BackupKind
    revision: str
    taken_at: datetime
    size_bytes: int
    sha256: str
    tables: tuple[TableState, ...]

    @property
    def rows(self) -> int:
        return sum(state.rows for state in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A backup that was restored elsewhere and compared, table by table, with what it was made from."""

    backup: Backup
    restored: tuple[TableState, ...]  # equal to backup.tables


def back_up(url: str, folder: Path) -> Backup:
    """Write a backup of the catalogue at `url` into a new or empty folder. Writers go on meanwhile.

    SQLite is copied by its online backup and checked; PostgreSQL is dumped by `pg_dump` at one snapshot, or, where that
    program is not there, copied row by row into a SQLite file. Raises StoreError; SchemaRefused for another revision.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} is not empty, and a backup never replaces anything; give a new folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = existing(url)
    try:
        with reading(engine, "back the catalogue up") as session:
            connection = session.connection()
            begin_snapshot(connection)
            kind: BackupKind = "pg_dump" if connection.dialect.name == "postgresql" and has_programs() else "sqlite"
            file = _owners_file(folder / _FILES[kind])
            taken_at, tables = database_now(session), table_states(connection)
            if kind == "pg_dump":
                snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
                dump(url, str(snapshot), file)
            elif connection.dialect.name == "sqlite":
                _copy_online(connection, file)
            else:
                tables = copy_catalogue(url, f"sqlite:///{file}")
                _close_log(file)
            revision = revision_of(connection) or ""
    finally:
        engine.dispose()
    sync_path(file)
    made = Backup(
        kind=kind,
        revision=revision,
        taken_at=taken_at,
        size_bytes=file.stat().st_size,
        sha256=file_sha256(file),
        tables=tables,
    )
    _describe(folder, made)
    return made


def read_backup(folder: Path) -> Backup:
    """The backup in a folder, its file compared with its sha256. Raises DataError where it is none, or differs."""
    path = folder / DESCRIPTION
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        body = whole["backup"]
        if digest_of(body) != whole["digest"]:
            raise ValueError("it differs from its own digest")
        body["taken_at"] = datetime.fromisoformat(body["taken_at"])
        body["tables"] = tuple(TableState(**state) for state in body["tables"])
        found = Backup(**body)
        if found.kind not in get_args(BackupKind):
            raise ValueError(f"kind {found.kind!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} holds no backup that was finished ({error}); give the folder of another") from error
    file = folder / _FILES[found.kind]
    sha256 = file_sha256(file) if file.is_file() else "missing"
    if sha256 != found.sha256:
        raise DataError(f"{file}: sha256 {sha256}, {DESCRIPTION} says {found.sha256}; use another backup")
    return found


def restore(folder: Path, url: str) -> Backup:
    """Put a backup back as a new catalogue at `url` and compare every table. A SQLite backup may go to either database.

    Raises StoreError where something is there already, or the restored tables differ; DataError for a bad backup.
    """
    found = read_backup(folder)
    file = folder / _FILES[found.kind]
    if found.kind == "pg_dump":
        if not url.startswith("postgresql"):
            raise StoreError(f"{folder} was dumped by PostgreSQL and restores to it; then `faceloop catalogue copy`")
        _require_empty(url)
        load(file, url)
        require_same(found.tables, states_at(url), "the restored catalogue is not what was backed up")
    elif url.startswith("sqlite:///"):
        _put_file_back(file, Path(url.removeprefix("sqlite:///")), found.tables)
    else:
        with TemporaryDirectory(prefix="faceloop-restore-") as scratch:
            copy = shutil.copyfile(file, Path(scratch) / "catalogue.sqlite3")  # opening a file changes it
            require_same(found.tables, copy_catalogue(f"sqlite:///{copy}", url), "the restored catalogue differs")
    return found


def drill(url: str, folder: Path | None = None) -> Drill:
    """Back the catalogue up, or take the backup in `folder`, restore it into a scratch place, and compare each table.

    Nothing is changed at `url`; PostgreSQL needs the right to make a database. Raises what the two raise.
    """
    with TemporaryDirectory(prefix="faceloop-drill-") as scratch:
        place = folder or Path(scratch) / "backup"
        made = read_backup(place) if folder is not None else back_up(url, place)
        if made.kind == "pg_dump":
            with _scratch_database(url) as elsewhere:
                restore(place, elsewhere)
                return Drill(backup=made, restored=states_at(elsewhere))
        elsewhere = f"sqlite:///{scratch}/restored.sqlite3"
        restore(place, elsewhere)
        return Drill(backup=made, restored=states_at(elsewhere))


def states_at(url: str) -> tuple[TableState, ...]:
    """What each table of a catalogue holds now, as one state. Raises what `existing` raises."""
    engine = existing(url)
    try:
        with reading(engine, "compare the catalogue") as session:
            begin_snapshot(session.connection())
            return table_states(session.connection())
    finally:
        engine.dispose()


def _owners_file(path: Path) -> Path:
    """A new, empty file that nobody else may read, not even while it is written. Whoever writes it keeps its mode."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
    return path


def _copy_online(connection: Connection, file: Path) -> None:
    """In the reader's own transaction, so that the copy is the state that was summed up."""
    raw: Any = connection.connection.driver_connection
    with closing(sqlite3.connect(file)) as copy:
        raw.backup(copy)
    _close_log(file)


def _close_log(file: Path) -> None:
    """One file that holds everything, and that SQLite itself finds whole. Raises StoreError."""
    with closing(sqlite3.connect(file)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
        (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        raise StoreError(f"the copy fails SQLite's integrity check ({answer}); the catalogue itself may be damaged")


def _describe(folder: Path, made: Backup) -> None:
    said: dict[str, JsonValue] = {**asdict(made), "taken_at": made.taken_at.isoformat()}
    said["tables"] = [asdict(state) for state in made.tables]
    body: JsonValue = {"backup": said, "digest": digest_of(said)}
    waiting = _owners_file(folder / f"{DESCRIPTION}.partial")
    waiting.write_text(json.dumps(body, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sync_path(waiting)
    waiting.rename(folder / DESCRIPTION)
    sync_path(folder)
    sync_path(folder.parent)


def _put_file_back(file: Path, target: Path, expected: Sequence[TableState]) -> None:
    for path in (target, target.with_name(f"{target.name}-wal"), target.with_name(f"{target.name}-shm")):
        if path.exists():
            raise StoreError(f"{path} is there already, and a restore replaces nothing; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = target.with_name(f"{target.name}.partial")
    waiting.unlink(missing_ok=True)  # of a restore that was cut off
    shutil.copyfile(file, _owners_file(waiting))
    require_same(expected, states_at(f"sqlite:///{waiting}"), "the restored catalogue is not what was backed up")
    _close_log(waiting)
    sync_path(waiting)
    os.link(waiting, target)  # unlike a rename it never replaces what somebody made meanwhile
    waiting.unlink()
    sync_path(target.parent)


def _require_empty(url: str) -> None:
    engine = connected(url, "catalogue to restore to")
    try:
        with reading(engine, "look at the target") as session:
            names = session.connection().dialect.get_table_names(session.connection())
    finally:
        engine.dispose()
    if names:
        raise StoreError(f"the database to restore to holds tables already ({min(names)}); give an empty database")


@contextmanager
def _scratch_database(url: str) -> Iterator[str]:
    name = f"faceloop_drill_{os.getpid()}"
    engine = connected(url, "catalogue").execution_options(isolation_level="AUTOCOMMIT")
    try:
        with reading(engine, "make a database for the drill") as session:
            session.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
        try:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)
        finally:
            with reading(engine, "remove the database of the drill") as session:
                session.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    finally:
        engine.dispose()

"""Turns: one process at a time does a piece of work that is longer than a transaction."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from facestore.errors import StoreError
from facestore.ids import sha256_hex


@contextmanager
def alone(engine: Engine, what: str) -> Iterator[None]:
    """Waits until no other process does `what` (a word that may be part of a file name) on this database.

    A lock of the operating system on a file beside SQLite's, an advisory lock of a session in PostgreSQL: either ends
    with whoever held it, also when he is killed. A database in memory has no others. Raises StoreError.
    """
    if engine.dialect.name == "postgresql":
        with _advisory(engine, what):
            yield
    elif engine.url.database and engine.url.database != ":memory:":
        with _locked(Path(f"{engine.url.database}.{what}.lock"), what):
            yield
    else:
        yield


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    try:
        held = path.open("w")
    except OSError as error:
        raise StoreError(f"cannot take the turn to {what}: {error}; make the folder writable") from error
    with held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory(engine: Engine, what: str) -> Iterator[None]:
    number = int(sha256_hex(f"faceloop turn {what}".encode())[:15], 16)
    try:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(select(func.pg_advisory_lock(number)))
    except SQLAlchemyError as error:
        raise StoreError(f"cannot take the turn to {what}: {error}") from error
    try:
        yield
    finally:
        connection.invalidate()  # the lock goes with the session
        connection.close()

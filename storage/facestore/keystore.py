"""Wrapped data keys in SQL, in a database of their own: backups of the catalogue never carry a key.

A key that is removed is gone from the file at once (secure_delete) but for the journal; `purge` empties that too.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from weakref import finalize

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from facestore.catalogue import connected, reading, writing
from facestore.errors import StoreError

_AT_ONCE = 2_000  # ids in one statement
_TABLES = MetaData()  # not the catalogue's
_KEYS = Table(
    "data_key",
    _TABLES,
    Column("owner_id", String(64), primary_key=True),  # a face or a tracklet
    Column("master_id", String(16), nullable=False, index=True),  # fingerprint of the master key that wraps it
    Column("wrapped", LargeBinary, nullable=False),
)
_SUMS = Table(
    "data_key_sum",
    _TABLES,
    Column("name", String(20), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
_DESTROYED = "destroyed"  # how many, not whose: a key store that lost keys is told from one that destroyed them


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key under a master key."""

    master_id: str
    wrapped: bytes


class KeyStore:
    """Data keys by their owner's id. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = connected(url, "key store")
        finalize(self, _dispose, self._engine, os.getpid())  # readers of pictures are often left to the collector
        with writing(self._engine, "make the key store") as session:
            _TABLES.create_all(session.connection())

    def close(self) -> None:
        self._engine.dispose()

    def find(self, owner_ids: Collection[str]) -> dict[str, WrappedKey]:
        """Those that are there."""
        with reading(self._engine, "read keys") as session:
            return _find(session, owner_ids)

    def neighbours(self, owner_id: str, keys: int) -> dict[str, WrappedKey]:
        """The key of this owner, if it is there, and those behind it in the order of ids: `keys` at most."""
        rows = select(_KEYS).where(_KEYS.c.owner_id >= owner_id).order_by(_KEYS.c.owner_id).limit(keys)
        with reading(self._engine, "read keys") as session:
            return {found: WrappedKey(master_id, wrapped) for found, master_id, wrapped in session.execute(rows)}

    def add(self, fresh: Mapping[str, WrappedKey], refuse: Callable[[], None]) -> dict[str, WrappedKey]:
        """Keep these keys, in one transaction; who came first stays. Returns the ones that hold.

        `refuse` raises where they must not be kept. It is asked when no other writer can come between.
        """
        with writing(self._engine, "keep keys") as session:
            refuse()
            found = _find(session, fresh)
            if new := [owner_id for owner_id in sorted(fresh) if owner_id not in found]:
                rows = [
                    {"owner_id": owner_id, "master_id": fresh[owner_id].master_id, "wrapped": fresh[owner_id].wrapped}
                    for owner_id in new
                ]
                session.execute(_KEYS.insert(), rows)
            return {owner_id: found.get(owner_id, key) for owner_id, key in fresh.items()}

    def remove(self, owner_ids: Collection[str]) -> int:
        """Destroy keys; returns how many were there."""
        with writing(self._engine, "destroy keys") as session:
            there = sorted(_find(session, owner_ids))
            for some in _parts(there):
                session.execute(update(_KEYS).where(_KEYS.c.owner_id.in_(some)).values(wrapped=bytes(64)))
                session.execute(delete(_KEYS).where(_KEYS.c.owner_id.in_(some)))
            if there:
                before = session.scalar(select(_SUMS.c.number).where(_SUMS.c.name == _DESTROYED))
                if before is None:
                    session.execute(_SUMS.insert(), [{"name": _DESTROYED, "number": len(there)}])
                else:
                    session.execute(update(_SUMS).where(_SUMS.c.name == _DESTROYED).values(number=before + len(there)))
            return len(there)

    def destroyed(self) -> int:
        """How many keys were ever destroyed here."""
        with reading(self._engine, "count keys") as session:
            return int(session.scalar(select(_SUMS.c.number).where(_SUMS.c.name == _DESTROYED)) or 0)

    def counts(self) -> dict[str, int]:
        """Keys by the fingerprint of the master key that wraps them."""
        rows = select(_KEYS.c.master_id, func.count()).group_by(_KEYS.c.master_id).order_by(_KEYS.c.master_id)
        with reading(self._engine, "count keys") as session:
            return {str(master_id): int(count) for master_id, count in session.execute(rows)}

    def rewrap(self, master_id: str, anew: Callable[[str, WrappedKey], WrappedKey]) -> int:
        """Replace some keys that another master key than `master_id` wraps, in one transaction; 0: none are left."""
        rows = select(_KEYS).where(_KEYS.c.master_id != master_id).order_by(_KEYS.c.owner_id).limit(_AT_ONCE)
        with writing(self._engine, "rewrap keys") as session:
            found = session.execute(rows).all()
            for owner_id, before, wrapped in found:
                key = anew(owner_id, WrappedKey(before, wrapped))
                values = {"master_id": key.master_id, "wrapped": key.wrapped}
                session.execute(update(_KEYS).where(_KEYS.c.owner_id == owner_id).values(values))
            return len(found)

    def end_rotation(self, master_id: str, then: Callable[[], None]) -> bool:
        """Do `then` if `master_id` wraps every key, before any other writer comes; whether it did."""
        with writing(self._engine, "end a rotation of the master key") as session:
            if session.scalar(select(_KEYS.c.owner_id).where(_KEYS.c.master_id != master_id).limit(1)) is not None:
                return False
            then()
            return True

    def purge(self) -> None:
        """Leave no bytes of removed keys in the database's own files (a server's write-ahead log, and backups, are
        its operator's)."""
        try:
            if self._engine.dialect.name == "sqlite":
                with closing(self._engine.raw_connection()) as raw:
                    for step in ("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                        answer = raw.cursor().execute(step).fetchone()
                        if answer and answer[0]:  # busy
                            raise StoreError("the key store's journal is in use; end what reads it and purge again")
            else:
                with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("VACUUM FULL data_key"))
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"cannot purge the key store: {error}; run it again") from error


def _dispose(engine: Engine, pid: int) -> None:
    engine.dispose(close=os.getpid() == pid)  # a forked child must not end its parent's conversation


def _find(session: Session, owner_ids: Collection[str]) -> dict[str, WrappedKey]:
    found: dict[str, WrappedKey] = {}
    for some in _parts(sorted(owner_ids)):
        for owner_id, master_id, wrapped in session.execute(select(_KEYS).where(_KEYS.c.owner_id.in_(some))):
            found[owner_id] = WrappedKey(master_id, wrapped)
    return found


def _parts(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))

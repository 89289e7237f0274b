"""The one home of lmdb: single-file databases, written once in key order, read lock-free and fork-safe."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import lmdb

from facestore.errors import ShardCorrupt, StoreError

MAP_BYTES = 1 << 40  # address space, not disk: the file grows page by page
COMMIT_RECORDS = 2_000


class LmdbWriter:
    """Writes a new single-file database; commits every 2,000 records; synced by whoever publishes it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._env = lmdb.open(
            str(path), subdir=False, map_size=MAP_BYTES, lock=False, sync=False, meminit=True, readahead=False
        )
        self._txn: Any = self._env.begin(write=True)
        self.records = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Add one record; raises StoreError when the key was written before or the disk is full."""
        try:
            if not self._txn.put(key, value, overwrite=False):
                raise StoreError(f"key {key!r} written twice")
            self.records += 1
            if self.records % COMMIT_RECORDS == 0:
                self._txn.commit()
                self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise StoreError(f"cannot write record {key!r}: {error}; free disk space and run again") from error

    def close(self, *, commit: bool) -> None:
        if commit:
            self._txn.commit()
        else:
            self._txn.abort()
        self._env.sync(True)
        self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(commit=kind is None)


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Opened:
    """A database as one process has it open; it closes with its last reader."""

    env: Any
    pid: int


# py-lmdb refuses to open a file twice in a process, and a forked child inherits what its parent has open.
_opened: WeakValueDictionary[tuple[int, int], _Opened] = WeakValueDictionary()


def _open_shared(path: Path) -> _Opened:
    if not path.is_file():
        raise ShardCorrupt(f"{path} is missing; run the stage that makes it")
    stat = path.stat()
    inode = (stat.st_dev, stat.st_ino)
    known = _opened.get(inode)
    if known is not None and known.pid == os.getpid():
        return known
    if known is not None:
        known.env.close()  # the parent's: this process opens its own
    try:
        env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, max_readers=1)
        promised_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    except lmdb.Error as error:
        raise ShardCorrupt(f"{path}: {error}; rebuild it") from error
    if stat.st_size < promised_bytes:  # reading past the end would kill the process (SIGBUS)
        env.close()
        raise ShardCorrupt(f"{path}: {stat.st_size} bytes, its header promises {promised_bytes}; rebuild it")
    opened = _Opened(env, os.getpid())
    _opened[inode] = opened
    return opened


class LmdbReader:
    """Reads a published database. Opens on first use and again after a fork; pickles as its path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: _Opened | None = None

    def _open(self) -> Any:
        if self._opened is None or self._opened.pid != os.getpid():
            self._opened = _open_shared(self._path)
        return self._opened.env

    def get(self, key: bytes) -> bytes:
        """The value of a key; raises ShardCorrupt when it is missing."""
        with self._open().begin(buffers=True) as txn:
            value = txn.get(key)
            if value is None:
                raise ShardCorrupt(f"{self._path} has no record {key!r}")
            return bytes(value)

    def views(self, keys: Iterable[bytes]) -> Iterator[memoryview]:
        """The values of keys in one transaction, uncopied: each view is valid only until the next is asked for.

        Raises ShardCorrupt when one is missing.
        """
        with self._open().begin(buffers=True) as txn:
            for key in keys:
                value = txn.get(key)
                if value is None:
                    raise ShardCorrupt(f"{self._path} has no record {key!r}")
                yield value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record in key order."""
        with self._open().begin() as txn:
            yield from txn.cursor()

    def __len__(self) -> int:
        return int(self._open().stat()["entries"])

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self._path, self._opened = path, None

    def close(self) -> None:
        self._opened = None

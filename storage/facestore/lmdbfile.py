"""The one home of lmdb: single-file databases, written once in key order, read lock-free and fork-safe.

LMDB has no checksums, and a file cut short or made up kills the process that reads it. So nothing is opened before
`lmdbpages` has looked at it and, where its size and sha256 are known, before these hold (see `Stamp`).
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import lmdb

from facestore.errors import ShardCorrupt, StoreError
from facestore.ids import file_sha256
from facestore.lmdbpages import check_pages

MAP_BYTES = 16 << 20  # address space at first; it doubles as a file fills it, so little is taken from limited processes
COMMIT_RECORDS = 2_000


class LmdbWriter:
    """Writes a new single-file database; commits every 2,000 records; synced by whoever publishes it.

    Never a writable map: on a full disk that is SIGBUS. A full map is no error: what was not committed is taken back
    and written again into a map of twice the size.
    """

    def __init__(self, path: Path, *, map_bytes: int = MAP_BYTES) -> None:
        self._path, self._map_bytes = path, map_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._env = lmdb.open(
                str(path), subdir=False, map_size=map_bytes, lock=False, sync=False, meminit=True, readahead=False
            )
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"cannot start {path.name}: {error}; free disk space and run again") from error
        self._txn: Any = self._env.begin(write=True)
        self._waiting: list[tuple[bytes, bytes]] = []  # since the last commit
        self.records = 0

    def put(self, key: bytes, value: bytes) -> None:
        """Add one record; raises StoreError when the key was written before or the disk is full."""
        try:
            self._put(key, value)
            self._waiting.append((key, value))
            self.records += 1
            if self.records % COMMIT_RECORDS == 0:
                self._commit()
                self._txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise StoreError(f"cannot write record {key!r}: {error}; free disk space and run again") from error

    def _put(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                if not self._txn.put(key, value, overwrite=False):
                    raise StoreError(f"key {key!r} written twice")
                return
            except lmdb.MapFullError:
                self._start_larger()

    def _commit(self) -> None:
        while True:
            try:
                self._txn.commit()
                self._waiting.clear()
                return
            except lmdb.MapFullError:  # the commit writes pages, too
                self._start_larger()

    def _start_larger(self) -> None:
        """Take back what was not committed, double the map, and put it in again."""
        while True:
            self._txn.abort()
            self._map_bytes *= 2
            self._env.set_mapsize(self._map_bytes)
            self._txn = self._env.begin(write=True)
            try:
                for key, value in self._waiting:
                    self._txn.put(key, value, overwrite=False)
                return
            except lmdb.MapFullError:
                continue

    def close(self, *, commit: bool) -> None:
        """Raises StoreError when the disk is full; the file is closed in any case, and worth nothing then."""
        try:
            if commit:
                self._commit()
                self._env.sync(True)
            else:
                self._txn.abort()
        except lmdb.Error as error:
            raise StoreError(f"cannot finish {self._path.name}: {error}; free disk space and run again") from error
        finally:
            self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(commit=kind is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a file must be: its size and the sha256 of its bytes, as an index says."""

    size_bytes: int
    sha256: str


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Opened:
    """A database as one process has it open; it closes with its last reader."""

    env: Any
    pid: int


# py-lmdb refuses to open a file twice in a process, and a forked child inherits what its parent has open.
_opened: WeakValueDictionary[tuple[int, int], _Opened] = WeakValueDictionary()

# Files that were looked at, as they were then: device and inode; size, times of change, the sha256 that held (or none).
# Each is read whole once for a process and its forked children, not at every opening. What changes afterwards in the
# same file is found by the hash of its record.
_checked: dict[tuple[int, int], tuple[int, int, int, str | None]] = {}


def check_file(path: Path, stamp: Stamp | None = None) -> None:
    """Whether LMDB may open it: its size, its sha256 where `stamp` gives them, its pages.

    Raises ShardCorrupt. Once for each file as it lies there; free where it was done before.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise ShardCorrupt(f"{path} is missing; run the stage that makes it") from error
    if stamp is not None and stat.st_size != stamp.size_bytes:
        raise ShardCorrupt(f"{path}: missing or not {stamp.size_bytes} bytes; run pack again")
    known = _checked.get((stat.st_dev, stat.st_ino))
    as_it_lies = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    is_known = known is not None and known[:3] == as_it_lies
    if is_known and known is not None and (stamp is None or known[3] == stamp.sha256):
        return
    if stamp is not None and file_sha256(path) != stamp.sha256:
        raise ShardCorrupt(f"{path}: sha256 differs from the index; run pack again")
    if not is_known:
        check_pages(path)
    _checked[stat.st_dev, stat.st_ino] = (*as_it_lies, stamp.sha256 if stamp is not None else None)


def _open_shared(path: Path, stamp: Stamp | None) -> _Opened:
    if not path.is_file():
        raise ShardCorrupt(f"{path} is missing; run the stage that makes it")
    stat = path.stat()
    inode = (stat.st_dev, stat.st_ino)
    known = _opened.get(inode)
    check_file(path, stamp)
    if known is not None and known.pid == os.getpid():
        return known
    if known is not None:
        known.env.close()  # the parent's: this process opens its own
    try:
        env = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False, max_readers=1)
    except lmdb.Error as error:
        raise ShardCorrupt(f"{path}: {error}; rebuild it") from error
    opened = _Opened(env, os.getpid())
    _opened[inode] = opened
    return opened


class LmdbReader:
    """Reads a published database. Opens on first use and again after a fork; pickles as its path and stamp.

    `stamp`: what an index says of the file; checked before it is opened.
    """

    def __init__(self, path: Path, stamp: Stamp | None = None) -> None:
        self._path, self._stamp = path, stamp
        self._opened: _Opened | None = None

    def _open(self) -> Any:
        if self._opened is None or self._opened.pid != os.getpid():
            self._opened = _open_shared(self._path, self._stamp)
        return self._opened.env

    def get(self, key: bytes) -> bytes:
        """The value of a key; raises ShardCorrupt when it is missing."""
        return next(bytes(view) for view in self.views([key]))

    def views(self, keys: Iterable[bytes]) -> Iterator[memoryview]:
        """The values of keys in one transaction, uncopied: each view is valid only until the next is asked for.

        Raises ShardCorrupt when one is missing.
        """
        env = self._open()
        try:
            with env.begin(buffers=True) as txn:
                for key in keys:
                    value = txn.get(key)
                    if value is None:
                        raise ShardCorrupt(f"{self._path} has no record {key!r}")
                    yield value
        except lmdb.Error as error:
            raise ShardCorrupt(f"{self._path}: {error}; rebuild it") from error

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every record in key order. Raises ShardCorrupt."""
        env = self._open()
        try:
            with env.begin() as txn:
                yield from txn.cursor()
        except lmdb.Error as error:
            raise ShardCorrupt(f"{self._path}: {error}; rebuild it") from error

    def __len__(self) -> int:
        return int(self._open().stat()["entries"])

    def check(self) -> None:
        """Look at the file now, not at first use: children that are forked after it need not. Raises ShardCorrupt."""
        check_file(self._path, self._stamp)

    def __getstate__(self) -> tuple[Path, Stamp | None]:
        return self._path, self._stamp

    def __setstate__(self, state: tuple[Path, Stamp | None]) -> None:
        (self._path, self._stamp), self._opened = state, None

    def close(self) -> None:
        self._opened = None

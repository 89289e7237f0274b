"""The object store: immutable bytes under a key, put once, by folder (`file://`) or S3-compatible bucket (`s3://`)."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from facestore.errors import ConfigError, StoreError
from facestore.publish import sync_path

if TYPE_CHECKING:
    from facestore.s3 import S3Bucket


class ObjectStore(Protocol):
    """Keys are POSIX paths made by us, never by users. An object is never changed."""

    def has(self, key: str) -> bool: ...

    def put(self, key: str, path: Path) -> None:
        """Store a copy of the file under `key`, once: a second put of the same key does nothing.

        Raises StoreError when the store cannot take it.
        """
        ...

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Gives a local path to read; raises StoreError when the key is missing."""
        ...


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Objects as files below a folder. `may_link` saves the copy where source and store share a disk."""

    root: Path
    may_link: bool = False

    def _path(self, key: str) -> Path:
        return self.root / key

    def has(self, key: str) -> bool:
        return self._path(key).is_file()

    def put(self, key: str, path: Path) -> None:
        target = self._path(key)
        if target.is_file():
            return
        waiting = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(path.resolve(), waiting)  # a link itself must not become the object
            sync_path(waiting)
            waiting.rename(target)
            for folder in (target.parent, target.parent.parent):
                sync_path(folder)
        except OSError as error:
            with suppress(OSError):
                waiting.unlink()
            raise StoreError(f"cannot store {key} in {self.root}: {error}; make room or check the folder") from error

    def _copy(self, path: Path, waiting: Path) -> None:
        waiting.unlink(missing_ok=True)
        if self.may_link:
            try:
                os.link(path, waiting)
                return
            except OSError:
                pass  # another disk, or a file system without hard links
        shutil.copyfile(path, waiting)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise StoreError(f"object {key} is missing from {self.root}; run ingest --again")
        yield path


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Objects below a prefix of an S3-compatible bucket."""

    bucket: "S3Bucket"
    prefix: str

    def has(self, key: str) -> bool:
        return self.bucket.has(self.prefix + key)

    def put(self, key: str, path: Path) -> None:
        self.bucket.put_once(self.prefix + key, path)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        with TemporaryDirectory(prefix="faceloop-object-") as folder:
            path = Path(folder) / Path(key).name
            self.bucket.fetch(self.prefix + key, path)
            yield path


def open_store(url: str, *, may_link: bool) -> ObjectStore:
    """The store behind `file:///path`, a plain path, or `s3://bucket/prefix`."""
    if url.startswith("s3://"):
        from facestore.s3 import S3Bucket  # late: half a second, and most roots are folders

        bucket, prefix = S3Bucket.from_url(url)
        return BucketStore(bucket, prefix)
    if "://" in url and not url.startswith("file://"):
        raise ConfigError(f"store {url!r}: use a folder, file:// or s3://")
    return FolderStore(Path(url.removeprefix("file://")), may_link)

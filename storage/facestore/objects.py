"""The object store: immutable bytes under a key, put once, by folder (`file://`) or S3-compatible bucket (`s3://`)."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from facestore.errors import ConfigError, StoreError
from facestore.s3 import S3Bucket


class ObjectStore(Protocol):
    """Keys are POSIX paths made by us, never by users. An object is never changed."""

    def has(self, key: str) -> bool: ...

    def put(self, key: str, path: Path) -> None:
        """Store a copy of the file under `key`, once: a second put of the same key does nothing."""
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
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = target.with_name(f"{target.name}.{os.getpid()}.partial")
        waiting.unlink(missing_ok=True)
        try:
            if self.may_link:
                os.link(path, waiting)
        except OSError:
            pass  # another disk, or a file system without hard links: copy below
        if not waiting.exists():
            shutil.copyfile(path, waiting)
        with waiting.open("rb") as stream:
            os.fsync(stream.fileno())
        waiting.rename(target)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise StoreError(f"object {key} is missing from {self.root}; run ingest again")
        yield path


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Objects below a prefix of an S3-compatible bucket."""

    bucket: S3Bucket
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
        bucket, prefix = S3Bucket.from_url(url)
        return BucketStore(bucket, prefix)
    if "://" in url and not url.startswith("file://"):
        raise ConfigError(f"store {url!r}: use a folder, file:// or s3://")
    return FolderStore(Path(url.removeprefix("file://")), may_link)

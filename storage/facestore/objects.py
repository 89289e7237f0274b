"""The object store: immutable bytes under a key, put once, by folder (`file://`) or S3-compatible bucket (`s3://`)."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from facestore.errors import ConfigError, ObjectCorrupt, StoreError
from facestore.folderstore import FolderStore as FolderStore
from facestore.ids import file_sha256, sha256_hex
from facestore.objectkeys import StoredObject, is_key, sha256_of_key

if TYPE_CHECKING:
    from facestore.s3 import S3Bucket


class ObjectStore(Protocol):
    """Keys are made by us, never by users, and end in the sha256 of the object: nothing else is given to a reader.

    An object is never changed. Every method raises StoreError when the store cannot be used, within a bounded time.
    """

    def has(self, key: str) -> bool: ...

    def put(self, key: str, path: Path) -> bool:
        """Store a copy of the file under `key`, once: False when it was there already, whole.

        Raises ObjectCorrupt when the file, or what a bucket holds under the key, is not what the key says. A folder
        takes the good file instead of a damaged one.
        """
        ...

    def heal(self, key: str, path: Path) -> None:
        """Put a good copy in the place of a damaged or missing one. Raises ObjectCorrupt when it is not good."""
        ...

    def local(self, key: str) -> AbstractContextManager[Path]:
        """Gives a local path to read, its sha256 checked. Raises ObjectMissing, ObjectCorrupt."""
        ...

    def check(self, key: str) -> None:
        """Read the whole object and compare its sha256. Raises ObjectMissing, ObjectCorrupt."""
        ...

    def read_range(self, key: str, start: int, length: int, sha256: str | None = None) -> bytes:
        """Some bytes of an object. With the sha256 of these bytes only they are read; without one the whole object is
        read and checked, since nothing else vouches for a part of it. Raises ObjectMissing, ObjectCorrupt."""
        ...

    def listed(self, now_s: float) -> Iterator[StoredObject]:
        """Every object, sorted by key; `now_s` is the time of day (seconds since 1970) that ages are told by."""
        ...

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects, in a bucket with all their earlier versions and the uploads of them that were never ended.

        Those that are not there count as removed."""
        ...

    def link(self, key: str, seconds: int) -> str:
        """A URL that reads one object for at most 900 seconds. Never log it. Raises ConfigError for a folder."""
        ...


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Objects below a prefix of an S3-compatible bucket."""

    bucket: "S3Bucket"
    prefix: str

    def _key(self, key: str) -> str:
        sha256_of_key(key)
        return self.prefix + key

    def has(self, key: str) -> bool:
        return self.bucket.has(self._key(key))

    def put(self, key: str, path: Path) -> bool:
        from facestore.s3objects import put_once

        _refuse_bad(key, path)
        return put_once(self.bucket, self._key(key), path.resolve())

    def heal(self, key: str, path: Path) -> None:
        from facestore.s3objects import put_once

        _refuse_bad(key, path)
        put_once(self.bucket, self._key(key), path.resolve(), over=True)

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        from facestore.s3objects import fetch

        with TemporaryDirectory(prefix="faceloop-object-") as folder:
            path = Path(folder) / Path(key).name
            fetch(self.bucket, self._key(key), path, sha256_of_key(key))
            yield path

    def check(self, key: str) -> None:
        with self.local(key):
            pass

    def read_range(self, key: str, start: int, length: int, sha256: str | None = None) -> bytes:
        from facestore.s3objects import fetch_range

        if length == 0:
            return b""
        if sha256 is None:
            with self.local(key) as path, path.open("rb") as stream:
                stream.seek(start)
                payload = stream.read(length)
                if len(payload) != length:
                    raise StoreError(f"object {key} has no bytes {start} to {start + length}; ask for what it holds")
                return payload
        for _ in range(self.bucket.patience.attempts):
            payload = fetch_range(self.bucket, self._key(key), start, length)
            if sha256_hex(payload) == sha256:
                return payload
        raise ObjectCorrupt(f"bytes {start} to {start + length} of {key} changed; `faceloop repair` finds a good copy")

    def listed(self, now_s: float) -> Iterator[StoredObject]:
        for key, size_bytes, written_at in self.bucket.list_dated(self.prefix):
            name = key.removeprefix(self.prefix)
            if is_key(name):
                age_s = max(0.0, now_s - written_at.timestamp())
                yield StoredObject(key=name, size_bytes=size_bytes, age_s=age_s)

    def remove(self, keys: Sequence[str]) -> None:
        named = [self._key(key) for key in keys]
        self.bucket.remove_every_version(named)
        for upload in self.bucket.started_uploads(self.prefix) if named else ():
            if upload.key in named:  # begun and never ended: its parts are kept, and no listing of objects has them
                self.bucket.abort(upload.key, upload.upload_id)

    def link(self, key: str, seconds: int) -> str:
        return self.bucket.link(self._key(key), seconds)


def _refuse_bad(key: str, path: Path) -> None:
    if file_sha256(path) != sha256_of_key(key):
        raise ObjectCorrupt(f"the file for {key} has other bytes than its key says: it changed meanwhile; run again")


def open_store(url: str, *, may_link: bool) -> ObjectStore:
    """The store behind `file:///path`, a plain path, or `s3://bucket/prefix` (with `?encryption=`, see `s3.py`)."""
    if url.startswith("s3://"):
        from facestore.s3 import S3Bucket  # late: half a second, and most roots are folders

        bucket, prefix = S3Bucket.from_url(url)
        return BucketStore(bucket, prefix)
    if "://" in url and not url.startswith("file://"):
        raise ConfigError(f"store {url!r}: use a folder, file:// or s3://")
    return FolderStore(Path(url.removeprefix("file://")), may_link)

"""Where raw footage comes from: a local folder or an `s3://` prefix, walked recursively and in sorted order."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from facestore.errors import ConfigError

if TYPE_CHECKING:
    from facestore.s3 import S3Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One file of a source. `path` is relative, POSIX, and only ever data: it is never joined to one of our paths."""

    path: str
    size_bytes: int
    version: str  # changes when the bytes may have changed: modification time or ETag


class Source(Protocol):
    def locations(self) -> Iterator[Location]:
        """Every regular file, sorted by path; hidden files and links that leave the source are passed over."""
        ...

    def local(self, location: Location) -> AbstractContextManager[Path]:
        """Gives a local path to read."""
        ...


def _as_text(path: str) -> str:
    r"""A file name of any bytes as text: bytes that are not UTF-8, and the backslash itself, become `\xNN`."""
    return os.fsencode(path).replace(b"\\", rb"\x5c").decode("utf-8", "backslashreplace")


def _as_path(text: str) -> str:
    """The inverse of `_as_text`."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    return os.fsdecode(raw)


def _leaves(path: Path, top: Path) -> bool:
    try:
        return not path.resolve().is_relative_to(top)
    except (RuntimeError, OSError):  # a link that leads to itself
        return True


@dataclass(frozen=True, slots=True)
class FolderSource:
    root: Path

    def locations(self) -> Iterator[Location]:
        top = self.root.resolve()
        found = []
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                if name.startswith(".") or _leaves(path, top) or not path.is_file():
                    continue
                found.append((_as_text(path.relative_to(top).as_posix()), path))
        for text, path in sorted(found):
            stat = path.stat()
            yield Location(path=text, size_bytes=stat.st_size, version=str(stat.st_mtime_ns))

    @contextmanager
    def local(self, location: Location) -> Iterator[Path]:
        yield self.root.resolve() / _as_path(location.path)


@dataclass(frozen=True, slots=True)
class BucketSource:
    bucket: "S3Bucket"
    prefix: str

    def locations(self) -> Iterator[Location]:
        for key, size, etag in self.bucket.list(self.prefix):
            path = key.removeprefix(self.prefix)
            is_hidden = any(part.startswith(".") and part != ".." for part in path.split("/"))
            if path and not path.endswith("/") and not is_hidden:
                yield Location(path=path, size_bytes=size, version=etag)

    @contextmanager
    def local(self, location: Location) -> Iterator[Path]:
        from facestore.s3objects import fetch  # late, as below

        with TemporaryDirectory(prefix="faceloop-source-") as folder:
            path = Path(folder) / "footage"
            fetch(self.bucket, self.prefix + location.path, path)
            yield path


def open_source(url: str) -> Source:
    """The source behind a folder path or `s3://bucket/prefix`; raises ConfigError when the folder is missing."""
    if url.startswith("s3://"):
        from facestore.s3 import S3Bucket  # late: half a second, and most roots are folders

        return BucketSource(*S3Bucket.from_url(url))
    root = Path(url.removeprefix("file://"))
    if not root.is_dir():
        raise ConfigError(f"source {url!r} is not a folder; give a folder of videos and photos, or s3://BUCKET/PREFIX")
    return FolderSource(root)

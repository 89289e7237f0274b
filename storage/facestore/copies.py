"""Where good copies of lost bytes may lie: a backup root, a source, a DVC cache, a bucket. Found by content.

Candidates are files of the wanted size; a copy counts only after its sha256 was compared, so that it matters neither
how the other place names its files nor whether it is whole itself.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from facestore.errors import ConfigError, ObjectCorrupt, ObjectMissing
from facestore.ids import file_sha256

if TYPE_CHECKING:
    from facestore.s3 import S3Bucket


class Copies(Protocol):
    def take(self, sha256: str, size_bytes: int, to: Path) -> bool:
        """Copy a file with these bytes to `to`; False, and nothing is there, when none is known.

        `size_bytes` 0: any size, and then the file's name must hold the sha256. Raises StoreError.
        """
        ...

    def named(self, place: str, to: Path) -> bool:
        """Copy the file at this place below the other root, whatever it holds; False when there is none."""
        ...


@dataclass(slots=True)
class FolderCopies:
    """Every file below a folder. It is read, never written."""

    root: Path
    _by_size: dict[int, list[Path]] = field(default_factory=dict)
    _hashes: dict[Path, str] = field(default_factory=dict)

    def take(self, sha256: str, size_bytes: int, to: Path) -> bool:
        for path in self._candidates(sha256, size_bytes):
            try:
                if path not in self._hashes:
                    self._hashes[path] = file_sha256(path)
                if self._hashes[path] != sha256:
                    continue
                shutil.copyfile(path, to)
                if file_sha256(to) == sha256:
                    return True
            except OSError:  # the other place may be damaged too: another copy may be whole
                self._hashes.pop(path, None)
        to.unlink(missing_ok=True)
        return False

    def named(self, place: str, to: Path) -> bool:
        path = self.root / place
        if not path.is_file():
            return False
        shutil.copyfile(path, to)
        return True

    def _candidates(self, sha256: str, size_bytes: int) -> Iterator[Path]:
        if not self._by_size:
            found: dict[int, list[Path]] = defaultdict(list)
            for folder, folders, names in os.walk(self.root):
                folders.sort()
                for name in sorted(names):
                    path = Path(folder, name)
                    if path.is_file() and not path.is_symlink():
                        found[path.stat().st_size].append(path)
            self._by_size = dict(found)
        if size_bytes:
            yield from self._by_size.get(size_bytes, [])
            return
        for paths in self._by_size.values():
            yield from (path for path in paths if sha256 in path.name)


@dataclass(slots=True)
class BucketCopies:
    """Every object below a prefix of a bucket."""

    bucket: "S3Bucket"
    prefix: str
    _listed: list[tuple[str, int]] = field(default_factory=list)

    def take(self, sha256: str, size_bytes: int, to: Path) -> bool:
        from facestore.s3objects import fetch

        if not self._listed:
            self._listed = [(key, size) for key, size, _ in self.bucket.list(self.prefix)]
        fitting = [key for key, size in self._listed if size == size_bytes or (not size_bytes and sha256 in key)]
        for key in sorted(fitting, key=lambda key: sha256 not in key):  # those named by their content come first
            try:
                fetch(self.bucket, key, to, sha256)
                return True
            except (ObjectCorrupt, ObjectMissing):
                continue
        return False

    def named(self, place: str, to: Path) -> bool:
        from facestore.s3objects import fetch

        try:
            fetch(self.bucket, self.prefix + place, to)
        except (ObjectMissing, ObjectCorrupt):
            return False
        return True


def open_copies(url: str) -> Copies:
    """The copies at a folder, or `s3://bucket/prefix`. Raises ConfigError when the folder is not there."""
    if url.startswith("s3://"):
        from facestore.s3 import S3Bucket

        return BucketCopies(*S3Bucket.from_url(url))
    root = Path(url.removeprefix("file://"))
    if not root.is_dir():
        raise ConfigError(
            f"--from {url!r} is no folder; give a backup root, a store, a DVC cache, or s3://BUCKET/PREFIX"
        )
    return FolderCopies(root)

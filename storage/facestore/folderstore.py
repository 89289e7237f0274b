"""Objects as files below a folder: put once, hashed again at every read."""

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import ConfigError, ObjectCorrupt, ObjectMissing, StoreError
from facestore.ids import sha256_hex
from facestore.objectkeys import StoredObject, check_file, is_key, sha256_of_key
from facestore.publish import sync_path


@dataclass(frozen=True, slots=True)
class FolderStore:
    """An `ObjectStore`. `may_link` saves the copy where source and store share a disk."""

    root: Path
    may_link: bool = False

    def _path(self, key: str) -> Path:
        sha256_of_key(key)
        return self.root / key

    def has(self, key: str) -> bool:
        return self._path(key).is_file()

    def put(self, key: str, path: Path) -> bool:
        target = self._path(key)
        if target.is_file():
            try:
                self.check(key)
                return False
            except ObjectCorrupt:
                self.heal(key, path)
                return True
        return self._bring_in(key, path, is_over=False)

    def heal(self, key: str, path: Path) -> None:
        self._bring_in(key, path, is_over=True)

    def _bring_in(self, key: str, path: Path, *, is_over: bool) -> bool:
        target = self._path(key)
        waiting = target.with_name(f"{target.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(path.resolve(), waiting, may_link=self.may_link and not is_over)
            sync_path(waiting)  # an error of it is never tried again: the kernel may have dropped the bytes
            check_file(waiting, key, str(self.root))
            has_won = self._take_place(waiting, target, is_over=is_over)
            folder = target.parent
            while folder != self.root.parent:
                sync_path(folder)
                folder = folder.parent
        except OSError as error:
            raise StoreError(f"cannot store {key} in {self.root}: {error}; make room or check the folder") from error
        finally:
            with suppress(OSError):
                waiting.unlink()
        return has_won

    def _copy(self, path: Path, waiting: Path, *, may_link: bool) -> None:
        waiting.unlink(missing_ok=True)
        if may_link:
            try:
                os.link(path, waiting)
                return
            except OSError:
                pass  # another disk, or a file system without hard links
        shutil.copyfile(path, waiting)

    def _take_place(self, waiting: Path, target: Path, *, is_over: bool) -> bool:
        """Of two who come at once the second finds the place taken, by the same bytes: both were hashed."""
        if not is_over:
            try:
                os.link(waiting, target)
                return True
            except FileExistsError:
                return False
            except OSError:
                pass  # no hard links here: the rename of the last one stands
        waiting.rename(target)
        return True

    @contextmanager
    def local(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        self.check(key)
        yield path

    def check(self, key: str) -> None:
        path = self._path(key)
        if not path.is_file():
            raise ObjectMissing(f"object {key} is missing from {self.root}; run `faceloop repair`, or ingest --again")
        try:
            check_file(path, key, str(self.root))
        except OSError as error:
            raise StoreError(f"cannot read {key} of {self.root}: {error}; check the disk") from error

    def read_range(self, key: str, start: int, length: int, sha256: str | None = None) -> bytes:
        path = self._path(key)
        if not path.is_file() or sha256 is None:
            self.check(key)
        try:
            with path.open("rb") as stream:
                stream.seek(start)
                payload = stream.read(length)
        except OSError as error:
            raise StoreError(f"cannot read {key} of {self.root}: {error}; check the disk") from error
        if len(payload) != length:
            raise StoreError(f"object {key} has no bytes {start} to {start + length}; ask for what it holds")
        if sha256 is not None and sha256_hex(payload) != sha256:
            raise ObjectCorrupt(
                f"bytes {start} to {start + length} of {key} differ from their sha256; `faceloop repair`"
            )
        return payload

    def listed(self, now_s: float) -> Iterator[StoredObject]:
        for folder, folders, names in os.walk(self.root):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                key = path.relative_to(self.root).as_posix()
                if is_key(key):
                    stat = path.stat()  # a hard link keeps the time of its file's last change, not that of its coming
                    yield StoredObject(key=key, size_bytes=stat.st_size, age_s=max(0.0, now_s - stat.st_ctime))

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self._path(key)
            try:
                path.unlink(missing_ok=True)
                if path.parent.is_dir():
                    sync_path(path.parent)
            except OSError as error:
                raise StoreError(f"cannot remove {key} of {self.root}: {error}; check the folder") from error

    def link(self, key: str, seconds: int) -> str:
        raise ConfigError(f"{self.root} is a folder, which gives no links; serve the object, or keep it in a bucket")

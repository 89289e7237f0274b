"""The shelf as a folder that a labelling server on this machine shows to those who have logged in."""

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from facestore.errors import ConfigError, StoreError
from facestore.ids import sha256_hex

_NAME_HEX = 16
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750


def picture_name(place: int, jpeg: bytes) -> str:
    """Of place and content: another picture at the same place has another address, so no cache shows the old one."""
    return f"{place:02d}-{sha256_hex(jpeg)[:_NAME_HEX]}.jpg"


def question_folder(question_id: str) -> str:
    """Raises ConfigError for an id that is no name of a folder."""
    if not question_id or not question_id.isalnum() or not question_id.isascii():
        raise ConfigError(f"question id {question_id!r} cannot name a folder; ids are hex digits")
    return question_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderShelf:
    """Pictures in `root/prefix/QUESTION/`. `root` is the server's document root; `prefix` the folder below it that its
    projects are connected with, and holds nothing else. Raises ConfigError for a prefix that leaves the root.
    """

    root: Path
    prefix: str

    def __post_init__(self) -> None:
        parts = Path(self.prefix).parts
        if not parts or Path(self.prefix).is_absolute() or ".." in parts:
            raise ConfigError(f"the shelf's folder {self.prefix!r} must be a name below the server's document root")

    @property
    def folder(self) -> Path:
        """What a project's storage must cover."""
        return self.root / self.prefix

    def begin(self) -> None:
        """Make the place that the labelling server is told of; again it changes nothing."""
        self.folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)

    def put(self, question_id: str, place: int, jpeg: bytes) -> str:
        """Raises StoreError when the folder cannot take it."""
        name = f"{question_folder(question_id)}/{picture_name(place, jpeg)}"
        path = self.folder / name
        if not _holds(path, jpeg):
            self._write(path, jpeg)
        return f"/data/local-files/?d={quote(f'{Path(self.prefix).as_posix()}/{name}')}"

    def _write(self, path: Path, jpeg: bytes) -> None:
        waiting = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE), "wb") as file:
                os.fchmod(file.fileno(), _FILE_MODE)
                file.write(jpeg)
            waiting.rename(path)
        except OSError as error:
            with suppress(OSError):
                waiting.unlink()
            raise StoreError(f"cannot lay out a picture in {self.folder}: {error}; make room or check it") from error

    def remove(self, question_id: str) -> None:
        """Raises StoreError for pictures that cannot be removed."""
        try:
            shutil.rmtree(self.folder / question_folder(question_id))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"cannot clear the pictures in {self.folder}: {error}; check the folder") from error

    def held(self) -> set[str]:
        if not self.folder.is_dir():
            return set()
        return {entry.name for entry in self.folder.iterdir() if entry.is_dir()}


def _holds(path: Path, jpeg: bytes) -> bool:
    """Compared, since a power cut may leave an empty file: these are not synced one by one."""
    try:
        return path.read_bytes() == jpeg
    except OSError:
        return False

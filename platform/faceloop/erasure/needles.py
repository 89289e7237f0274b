"""Byte strings that betray a person, and the search for them in files of any kind.

Every file is searched as it lies on the disk: pages that a database let go, logs and half-written files are found like
anything else. Tables are compressed, so Parquet is searched once more column by column.
"""

import base64
import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

_ANCHOR = 8  # bytes of a needle that are compared first
_FEWEST_NAME_BYTES = 8  # of a name that is searched for as it is
_CHUNK_BYTES = 8 << 20
_WINDOW_BYTES = 48
_FEWEST_VALUES = 12  # distinct bytes: a window of one colour is in many pictures
_PARQUET = b"PAR1"
_ROWS_AT_ONCE = 1_024


class Needles:
    """A set of byte strings, each of at least eight bytes, searched for all at once. Shorter ones are left out."""

    def __init__(self, needles: Iterable[bytes]) -> None:
        self.needles = frozenset(needle for needle in needles if len(needle) >= _ANCHOR)
        self._longest = max(map(len, self.needles), default=_ANCHOR)
        self._by_anchor: dict[int, list[bytes]] = {}
        self._is_start = np.zeros(1 << 16, np.bool_)
        for needle in self.needles:
            anchor = int.from_bytes(needle[:_ANCHOR], "little")
            self._by_anchor.setdefault(anchor, []).append(needle)
            self._is_start[anchor & 0xFFFF] = True
        self._anchors = np.array(sorted(self._by_anchor), np.uint64)

    def found_in(self, payload: bytes) -> set[bytes]:
        """Those needles that the bytes hold."""
        if len(payload) < _ANCHOR or not self.needles:
            return set()
        found: set[bytes] = set()
        raw = np.frombuffer(payload, np.uint8)
        pairs = raw[:-1].astype(np.uint16) | (raw[1:].astype(np.uint16) << np.uint16(8))
        starts = np.flatnonzero(self._is_start[pairs[: len(raw) - _ANCHOR + 1]])
        if not len(starts):
            return found
        windows = np.lib.stride_tricks.sliding_window_view(raw, _ANCHOR)[starts]
        words = np.ascontiguousarray(windows).view("<u8")[:, 0]
        places = np.minimum(np.searchsorted(self._anchors, words), len(self._anchors) - 1)
        for start in starts[self._anchors[places] == words]:
            anchor = int.from_bytes(payload[start : start + _ANCHOR], "little")
            found |= {needle for needle in self._by_anchor[anchor] if payload.startswith(needle, int(start))}
        return found

    def in_file(self, path: Path) -> bool:
        """Whether a file's bytes, or the cells of a Parquet file, hold one. Files that vanish meanwhile hold none."""
        try:
            if any(map(self.found_in, _chunks(path, self._longest))):
                return True
            with path.open("rb") as file:
                is_table = file.read(len(_PARQUET)) == _PARQUET
        except FileNotFoundError:
            return False
        return is_table and any(self.found_in(cells) for cells in _cells(path))

    def in_bytes_of(self, path: Path) -> set[bytes]:
        """Those needles that a file's bytes hold. Raises OSError."""
        return set[bytes]().union(*map(self.found_in, _chunks(path, self._longest)))

    def in_parts(self, parts: Iterable[bytes]) -> bool:
        """Whether bytes that come in parts hold one, across parts too."""
        kept = b""
        for part in parts:
            if self.found_in(kept + part):
                return True
            kept = (kept + part)[-self._longest :]
        return False


def _chunks(path: Path, overlap: int) -> Iterator[bytes]:
    """A file's bytes in pieces, each with the last `overlap` bytes of the one before."""
    with path.open("rb") as file:
        kept = b""
        while chunk := file.read(_CHUNK_BYTES):
            yield kept + chunk
            kept = chunk[-overlap:]


def _cells(path: Path) -> Iterator[bytes]:
    """What a Parquet file says, without its compression: texts joined, numbers as their bytes."""
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE):
                for column in batch.columns:
                    yield _plain(column)
    except (pa.ArrowException, OSError):  # cut short: its bytes were searched
        return


def _plain(column: pa.Array) -> bytes:
    while isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        column = column.flatten()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return "\n".join(value or "" for value in column.to_pylist()).encode()
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return b"\n".join(value or b"" for value in column.to_pylist())
    if pa.types.is_floating(column.type):
        return column.to_numpy(zero_copy_only=False).tobytes()  # type: ignore[no-any-return]
    return b""


def windows_of(payload: bytes) -> list[bytes]:
    """Three windows of a picture or another file that hardly occur anywhere else, and their base64 forms."""
    found = []
    for part in (2, 3, 4):
        start = len(payload) * part // 5
        window = payload[start : start + _WINDOW_BYTES]
        if len(set(window)) >= _FEWEST_VALUES:
            found += [window, *base64_of(window)]
    return found


def base64_of(window: bytes) -> list[bytes]:
    """How bytes look inside a longer base64 text, for each of the three ways that they can lie there."""
    return [base64.b64encode(window[shift : shift + (len(window) - shift) // 3 * 3]) for shift in range(3)]


def vector_windows(vector: npt.NDArray[np.float32]) -> list[bytes]:
    """Bytes of a vector in single and half precision, little-endian: the first eight and the last eight numbers, raw
    and as base64."""
    raw = [part.astype(kind).tobytes() for kind in ("<f4", "<f2") for part in (vector[:8], vector[-8:])]
    return [form for window in raw for form in (window, *base64_of(window))]


def name_forms(name: str) -> set[bytes]:
    """How files write a name: UTF-8, UTF-16, escaped as in JSON. One of few letters is in many files by chance: of it
    only what says that it is a name, as `"name": "Ann"`."""
    quoted = {json.dumps(name), json.dumps(name, ensure_ascii=False)}
    forms = {name.encode(), name.encode("utf-16-le"), name.encode("utf-16-be")}
    forms |= {text[1:-1].encode() for text in quoted}
    if len(name.encode()) < _FEWEST_NAME_BYTES:
        forms = {f'"name":{space}{text}'.encode() for text in quoted for space in ("", " ")}
    return {form for form in forms if len(form) >= _ANCHOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search came to. `held`: files that hold a needle, as they were named."""

    files: int
    size_bytes: int
    held: tuple[str, ...]


def search(places: Iterable[Path], needles: Needles, *, but_for: Collection[Path] = ()) -> Searched:
    """Search every file below the places, their names too; files of several places count once. Links are not followed.

    `but_for`: folders and files that are not looked into.
    """
    passed = {path.resolve() for path in but_for}
    files, size_bytes = 0, 0
    held: list[str] = []
    seen: dict[tuple[int, int], bool] = {}
    for path in _files(places, passed):
        try:
            stat = path.stat()
        except OSError:
            continue
        if needles.found_in(os.fsencode(path)):
            held.append(str(path))
        inode = (stat.st_dev, stat.st_ino)
        if inode not in seen:
            files, size_bytes = files + 1, size_bytes + stat.st_size
            seen[inode] = needles.in_file(path)
        if seen[inode]:
            held.append(str(path))  # of a file with several names each: all have to go
    return Searched(files=files, size_bytes=size_bytes, held=tuple(sorted(set(held))))


def _files(places: Iterable[Path], passed: Collection[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file() and place.resolve() not in passed:
            yield place
        for folder, below, names in os.walk(place):
            below[:] = sorted(name for name in below if Path(folder, name).resolve() not in passed)
            for name in sorted(names):
                path = Path(folder, name)
                if path.resolve() not in passed and path.is_file() and not path.is_symlink():
                    yield path

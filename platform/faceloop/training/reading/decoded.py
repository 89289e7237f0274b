"""Pictures kept as they came out of the decoder, which is nearly all that reading costs: later epochs copy them."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from faceloop.training.reading.ring import PICTURE_BYTES, SIDE_PX
from faceloop.training.reading.shared_room import SharedRoom, UInt8Array
from facestore.errors import DataError

if TYPE_CHECKING:
    from facestore.ciphers import Cipher

_CHECK_BYTES = 4
_MARK = 1  # a picture that is not there has the check 0


class DecodedPictures:
    """Rows 0 to `rows` of a split, as far as somebody has decoded them; in a file without a name below `folder`.

    Shared by the workers of one reader, who write the same bytes if two of them meet in a row. A picture counts only
    with its CRC, written after it: one half written, or spoilt on the disk, is decoded again. `is_sealed`: of an
    encrypted root; pictures are then encrypted by a key that is nowhere but in the memory of these processes.
    """

    def __init__(self, folder: Path, *, samples: int, room_bytes: int, is_sealed: bool = False) -> None:
        self._seal = _Seal.fresh() if is_sealed else None
        self._size = PICTURE_BYTES if self._seal is None else self._seal.size_bytes
        self.rows = min(samples, room_bytes // (self._size + _CHECK_BYTES))
        # Numbers first: they lie on whole words, whatever a picture's size is.
        self._room = SharedRoom(max(1, self.rows) * (self._size + _CHECK_BYTES), folder)

    def read_into(self, row: int, place: UInt8Array) -> bool:
        """Copy a row's picture to `place` (112, 112, 3) uint8, contiguous; False where it is not kept, or spoilt."""
        if row >= self.rows or not (check := int(self._checks()[row])):
            return False
        if self._seal is None:
            place[...] = self._bytes_of(row).reshape(SIDE_PX, SIDE_PX, 3)
            return _check_of(place) == check
        sealed = self._bytes_of(row).copy()
        if _check_of(sealed) != check:
            return False
        try:
            opened = self._seal.open(row, sealed.tobytes())
        except DataError:
            return False
        place[...] = np.frombuffer(opened, np.uint8).reshape(SIDE_PX, SIDE_PX, 3)
        return True

    def keep(self, row: int, image: UInt8Array) -> None:
        """Of a row beyond the room nothing is kept."""
        if row >= self.rows:
            return
        kept = image if self._seal is None else np.frombuffer(self._seal.close(row, image.tobytes()), np.uint8)
        self._bytes_of(row)[...] = kept.reshape(-1)
        self._checks()[row] = _check_of(kept)

    def _bytes_of(self, row: int) -> UInt8Array:
        start = max(1, self.rows) * _CHECK_BYTES + row * self._size
        return self._room.bytes[start : start + self._size]

    def _checks(self) -> NDArray[np.uint32]:
        return self._room.bytes[: max(1, self.rows) * _CHECK_BYTES].view(np.uint32)


@dataclass(slots=True)
class _Seal:
    """A key for as long as a reader lasts. Goes to its workers through their pipe or fork, never to a file."""

    key: bytes = field(repr=False)
    size_bytes: int  # of a sealed picture
    _cipher: "Cipher | None" = field(default=None, repr=False)

    @classmethod
    def fresh(cls) -> "_Seal":
        from facestore.ciphers import OVERHEAD_BYTES, fresh_key

        return cls(key=fresh_key(), size_bytes=PICTURE_BYTES + OVERHEAD_BYTES)

    def close(self, row: int, picture: bytes) -> bytes:
        return self._opened().seal(row.to_bytes(8, "big"), picture)

    def open(self, row: int, sealed: bytes) -> bytes:
        return self._opened().open(row.to_bytes(8, "big"), sealed)

    def _opened(self) -> "Cipher":
        if self._cipher is None:
            from facestore.ciphers import Cipher

            self._cipher = Cipher(self.key)
        return self._cipher

    def __getstate__(self) -> tuple[bytes, int]:
        return self.key, self.size_bytes

    def __setstate__(self, state: tuple[bytes, int]) -> None:
        self.key, self.size_bytes = state
        self._cipher = None


def _check_of(image: UInt8Array) -> int:
    return zlib.crc32(image.data) | _MARK

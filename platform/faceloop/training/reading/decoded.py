"""Pictures kept as they came out of the decoder, which is nearly all that reading costs: later epochs copy them."""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.training.reading.ring import PICTURE_BYTES, SIDE_PX
from faceloop.training.reading.shared_room import SharedRoom, UInt8Array

_CHECK_BYTES = 4
_MARK = 1  # a picture that is not there has the check 0


class DecodedPictures:
    """Rows 0 to `rows` of a split, as far as somebody has decoded them; in a file without a name below `folder`.

    Shared by the workers of one reader, who write the same bytes if two of them meet in a row. A picture counts only
    with its CRC, written after it: one half written, or spoilt on the disk, is decoded again.
    """

    def __init__(self, folder: Path, *, samples: int, room_bytes: int) -> None:
        self.rows = min(samples, room_bytes // (PICTURE_BYTES + _CHECK_BYTES))
        self._room = SharedRoom(max(1, self.rows) * (PICTURE_BYTES + _CHECK_BYTES), folder)

    def read_into(self, row: int, place: UInt8Array) -> bool:
        """Copy a row's picture to `place` (112, 112, 3) uint8, contiguous; False where it is not kept, or spoilt."""
        if row >= self.rows or not (check := int(self._checks()[row])):
            return False
        place[...] = self._picture(row)
        return _check_of(place) == check

    def keep(self, row: int, image: UInt8Array) -> None:
        """Of a row beyond the room nothing is kept."""
        if row < self.rows:
            self._picture(row)[...] = image
            self._checks()[row] = _check_of(image)

    def _picture(self, row: int) -> UInt8Array:
        return self._room.bytes[row * PICTURE_BYTES : (row + 1) * PICTURE_BYTES].reshape(SIDE_PX, SIDE_PX, 3)

    def _checks(self) -> NDArray[np.uint32]:
        return self._room.bytes[self.rows * PICTURE_BYTES :].view(np.uint32)


def _check_of(image: UInt8Array) -> int:
    return zlib.crc32(image.data) | _MARK

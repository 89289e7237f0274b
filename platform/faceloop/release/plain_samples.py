"""A sample as other tools know it: a class and a JPEG; what is checked of one that comes from outside."""

from collections.abc import Iterator
from dataclasses import dataclass

from facestore.errors import DataError
from facestore.images import decode_jpeg

SIDE_PX = 112
MOST_JPEG_BYTES = 1 << 20
_START = b"\xff\xd8"
_SIZES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive: what decoders take
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSample:
    """`class_index` ≥ 0; `jpeg`: 112 × 112, byte for byte as it was stored."""

    class_index: int
    jpeg: bytes


def checked(sample: PlainSample, name: str) -> PlainSample:
    """The sample, if it is one that we would have written. Raises DataError, naming it.

    Its size is read from its header first: a picture of 60,000 pixels a side is never decoded.
    """
    if not 0 <= sample.class_index < 1 << 31:
        raise DataError(f"{name}: {sample.class_index} is no class; classes count from 0")
    if len(sample.jpeg) > MOST_JPEG_BYTES or not sample.jpeg.startswith(_START):
        raise DataError(f"{name}: no JPEG of at most {MOST_JPEG_BYTES} bytes; convert its pictures first")
    if next(_sides(sample.jpeg), None) != (SIDE_PX, SIDE_PX):
        raise DataError(f"{name}: no crop of {SIDE_PX} × {SIDE_PX} pixels; align and crop its pictures first")
    if decode_jpeg(sample.jpeg).shape != (SIDE_PX, SIDE_PX, 3):
        raise DataError(f"{name}: cannot be decoded as its header says; leave it out")
    return sample


def _sides(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """(height, width) of every frame header before the pixels; nothing where the markers do not hold."""
    at = len(_START)
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return
        if marker in _SIZES and at + 9 <= len(jpeg):
            yield int.from_bytes(jpeg[at + 5 : at + 7], "big"), int.from_bytes(jpeg[at + 7 : at + 9], "big")
        at += 2 + max(2, int.from_bytes(jpeg[at + 2 : at + 4], "big"))

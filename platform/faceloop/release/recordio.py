"""RecordIO as InsightFace lays it out: `train.rec`, `train.idx`, `property`.

Record 0 says which keys are samples and which are classes; 1 … n are samples, class by class; behind them each class
says which keys are its own. A record is dmlc's: magic, length, bytes, padded to four. Where its bytes hold the magic on
a multiple of four, it is cut there into parts without it, so that readers can find their way from anywhere in the file.
A sample's header is MXNet's IRHeader: flag, label (float32), two ids; then the JPEG.
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from faceloop.release.plain_samples import MOST_JPEG_BYTES, SIDE_PX, PlainSample
from facestore.errors import DataError

RECORDS, KEYS, PROPERTY = "train.rec", "train.idx", "property"
_MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = struct.Struct("<4sI")
_IR_HEADER = struct.Struct("<IfQQ")
_PAIR = struct.Struct("<2f")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LENGTH_BITS = 29
MOST_EXACT = 1 << 24  # beyond, float32 skips whole numbers


def write_recordio(folder: Path, samples: Iterable[PlainSample], *, count: int, classes: int) -> int:
    """`samples` by class, ascending; `count` of them. Returns how many were written.

    Raises DataError for more samples or classes than a float32 counts, or samples out of order.
    """
    if count + classes + 1 >= MOST_EXACT:
        raise DataError(f"{count} samples are more than this format counts ({MOST_EXACT}); use webdataset")
    ranges: list[tuple[int, int]] = []  # keys of each class
    key, before = 0, -1
    with (folder / RECORDS).open("wb") as stream, (folder / KEYS).open("w", encoding="ascii") as keys:

        def write(payload: bytes) -> None:
            keys.write(f"{key}\t{stream.tell()}\n")
            _write_record(stream, payload)

        write(_IR_HEADER.pack(2, 0.0, 0, 0) + _PAIR.pack(count + 1, count + 1 + classes))
        for sample in samples:
            key += 1
            if not before <= sample.class_index < classes:
                raise DataError(f"sample {key}: class {sample.class_index} comes after {before}; sort by class")
            ranges += [(key, key)] * (sample.class_index - before)
            ranges[-1] = (ranges[-1][0], key + 1)
            before = sample.class_index
            write(_IR_HEADER.pack(0, sample.class_index, key, 0) + sample.jpeg)
        if key != count:
            raise DataError(f"{key} samples came, {count} were announced; run again")
        written = key
        ranges += [(key + 1, key + 1)] * (classes - len(ranges))
        for first, end in ranges:
            key += 1
            write(_IR_HEADER.pack(2, 0.0, key, 0) + _PAIR.pack(first, end))
    (folder / PROPERTY).write_text(f"{classes},{SIDE_PX},{SIDE_PX}\n", encoding="ascii")
    return written


def read_recordio(folder: Path) -> Iterator[PlainSample]:
    """Samples in the order of the file; keys are not needed. Raises DataError where the file does not hold."""
    path = folder / RECORDS
    if not path.is_file():
        raise DataError(f"there is no {RECORDS} in the folder; name one that holds {RECORDS}")
    with path.open("rb") as stream:
        end = None
        for key, payload in enumerate(_records(stream)):
            if len(payload) < _IR_HEADER.size:
                raise DataError(f"record {key}: too short for a header; take another copy of {RECORDS}")
            flag, label, _, _ = _IR_HEADER.unpack_from(payload)
            start = _IR_HEADER.size + 4 * flag
            if start > len(payload):
                raise DataError(f"record {key}: its labels do not fit in; take another copy of {RECORDS}")
            if flag:
                (label,) = struct.unpack_from("<f", payload, _IR_HEADER.size)
            if key == 0 and flag:
                end = label  # the first key that is no sample
                continue
            if end is not None and key >= end:
                return
            if label != label or label < 0 or label != int(label):
                raise DataError(f"record {key}: {label} is no class; classes are whole numbers from 0")
            yield PlainSample(class_index=int(label), jpeg=payload[start:])


def _write_record(stream: BinaryIO, payload: bytes) -> None:
    parts, start = [], 0
    at = payload.find(_MAGIC)
    while at >= 0:
        if at % 4:
            at = payload.find(_MAGIC, at + 1)
            continue
        parts.append(payload[start:at])
        start = at + len(_MAGIC)
        at = payload.find(_MAGIC, start)
    parts.append(payload[start:])
    for number, part in enumerate(parts):
        kind = _WHOLE if len(parts) == 1 else _FIRST if number == 0 else _LAST if number == len(parts) - 1 else _MIDDLE
        stream.write(_HEAD.pack(_MAGIC, kind << _LENGTH_BITS | len(part)) + part + b"\0" * (-len(part) % 4))


def _records(stream: BinaryIO) -> Iterator[bytes]:
    parts: list[bytes] = []
    while head := stream.read(_HEAD.size):
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise DataError(f"a record does not start as one; take another copy of {RECORDS}")
        word = _HEAD.unpack(head)[1]
        kind, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        padded = length + -length % 4
        if length + sum(map(len, parts)) > 2 * MOST_JPEG_BYTES:
            raise DataError(f"a record of {length} bytes is no crop; take another copy of {RECORDS}")
        part = stream.read(padded)
        if len(part) < padded or kind > _LAST or (kind in (_WHOLE, _FIRST)) != (not parts):
            raise DataError(f"a record is cut short or out of place; take another copy of {RECORDS}")
        parts.append(part[:length])
        if kind in (_WHOLE, _LAST):
            yield _MAGIC.join(parts)
            parts = []
    if parts:
        raise DataError(f"the last record is cut short; take another copy of {RECORDS}")

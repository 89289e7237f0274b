"""Training shards: LMDB files with a sha256 in every record, and an index that is written last.

Layout of a split: `shard-00000.lmdb … ` and `index.json` (see `shardindex`), and where the split was changed after it
was packed, one file a change. A record's key is the row that it was written as (8 bytes, big endian); its value is
sealed (see `seal`): header and JPEG. Changes are made by `shardchanges`, of whole releases by `releasechanges`.
Needs no torch: `ShardReader` has `__len__`, `__getitem__` and `__getitems__`, which a torch DataLoader takes as it is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from facestore.errors import ShardCorrupt, StoreError
from facestore.ids import JsonValue, file_sha256
from facestore.images import UInt8Array, decode_jpeg
from facestore.keys import keyring_near
from facestore.lmdbfile import LmdbReader, LmdbWriter, Stamp
from facestore.seal import PayloadCodec, close_payload, has_payload_as_it_is, open_payload, payload_of, unseal
from facestore.shardindex import INDEX, ShardEntry, read_index, write_packed

__all__ = ["INDEX", "Sample", "SampleLabel", "ShardReader", "Written", "write_shard_files", "write_shards"]

BYTES_PER_SHARD = 1 << 30
SAMPLE_KIND = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLabel:
    """What a record says beside its picture."""

    face_id: str
    identity_id: str
    class_index: int
    confidence: float
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One decoded record: `image_rgb` is (112, 112, 3) uint8."""

    image_rgb: UInt8Array
    label: SampleLabel


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where a sample went."""

    shard: str
    row: int
    sha256: str


def key_of(row: int) -> bytes:
    return row.to_bytes(8, "big")


def write_shards(
    split_dir: Path,
    samples: Iterable[tuple[SampleLabel, bytes]],
    samples_per_shard: int,
    *,
    bytes_per_shard: int = BYTES_PER_SHARD,
    payload: PayloadCodec | None = None,
) -> list[Written]:
    """Write labelled JPEGs in order; returns where each went. The index comes last: without it there is no split.

    A shard ends before the record that would take it over `samples_per_shard` or `bytes_per_shard`. `payload` closes
    each JPEG (see `seal.PayloadCodec`). Raises StoreError when the disk is full.
    """
    try:
        split_dir.mkdir(parents=True, exist_ok=True)
        (split_dir / INDEX).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot start split {split_dir.name}: {error}; free disk space and run again") from error
    entries, written = write_shard_files(
        split_dir,
        samples,
        samples_per_shard=samples_per_shard,
        bytes_per_shard=bytes_per_shard,
        payload=payload,
    )
    write_packed(split_dir, entries)
    return written


def write_shard_files(
    split_dir: Path,
    samples: Iterable[tuple[SampleLabel, bytes]],
    *,
    samples_per_shard: int,
    bytes_per_shard: int,
    payload: PayloadCodec | None,
    prefix: str = "shard-",
    first_row: int = 0,
) -> tuple[list[ShardEntry], list[Written]]:
    """Shards `PREFIX00000.lmdb …` with rows from `first_row` on, which no index names yet.

    Where it fails, none of them is left.
    """
    payload = payload or keyring_near(split_dir)
    written: list[Written] = []
    entries: list[ShardEntry] = []
    paths: list[Path] = []
    writer: LmdbWriter | None = None
    filled_bytes = 0
    try:
        for row, (label, jpeg) in enumerate(samples, start=first_row):
            header: dict[str, JsonValue] = {name: getattr(label, name) for name in SampleLabel.__slots__}
            record = close_payload(payload, label.face_id, SAMPLE_KIND, header, jpeg)
            is_full = writer is not None and (
                writer.records >= samples_per_shard or filled_bytes + len(record) > bytes_per_shard
            )
            if writer is None or is_full:
                if writer is not None:
                    entries.append(_closed(writer, paths[-1], row))
                    writer = None
                paths.append(split_dir / f"{prefix}{len(paths):05d}.lmdb")
                writer, filled_bytes = LmdbWriter(paths[-1]), 0
            writer.put(key_of(row), record)
            filled_bytes += len(record)
            written.append(Written(shard=paths[-1].name, row=row, sha256=record[:32].hex()))
        if writer is not None:
            last, writer = writer, None
            entries.append(_closed(last, paths[-1], first_row + len(written)))
    except BaseException:
        if writer is not None:
            writer.close(commit=False)
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    return entries, written


def _closed(writer: LmdbWriter, path: Path, end_row: int) -> ShardEntry:
    samples = writer.records
    writer.close(commit=True)
    return ShardEntry(file=path.name, first_row=end_row - samples, rows=samples, samples=samples, stamp=stamp_of(path))


def stamp_of(path: Path) -> Stamp:
    return Stamp(size_bytes=path.stat().st_size, sha256=file_sha256(path))


class ShardReader:
    """Random access to one split. Picklable and safe to use after a fork; opens each shard on first use.

    `ShardReader(dir)[7]` is a Sample; every read checks the record's sha256 (ShardCorrupt). Rows count what the split
    holds now, from 0: samples that a delta took away are not there, those it brought stand last, and the rows behind
    a removed one move up. They hold for one state of the split; what stays is the face id.

    A shard's size and sha256 are checked against the index before LMDB opens it, once in a process (and its forked
    children). `check` "size" leaves the hash out, which is for who reads a few records and trusts the layout of the
    files; `verify_files` checks all of them now. `payload` opens what was closed by one (see `seal.PayloadCodec`);
    None: the keys of the root that the split lies in.
    """

    def __init__(
        self,
        split_dir: Path,
        *,
        verify_files: bool = False,
        check: Literal["size", "hash"] = "hash",
        payload: PayloadCodec | None = None,
    ) -> None:
        index = read_index(split_dir)
        for shard in index.shards:
            file = split_dir / shard.file
            if not file.is_file() or file.stat().st_size != shard.stamp.size_bytes:
                raise ShardCorrupt(f"{file}: missing or not {shard.stamp.size_bytes} bytes; run pack again")
            if verify_files and file_sha256(file) != shard.stamp.sha256:
                raise ShardCorrupt(f"{file}: sha256 differs from the index; run pack again")
        self._payload = payload or keyring_near(split_dir)
        self._readers = [
            LmdbReader(split_dir / shard.file, shard.stamp if check == "hash" else None) for shard in index.shards
        ]
        self._ends = [shard.first_row + shard.rows for shard in index.shards]
        self._samples = index.rows - len(index.removed)
        self._stored: npt.NDArray[np.int64] | None = None  # row of now → row as written, where they differ
        if index.removed:
            gone = np.fromiter(index.removed, np.int64, len(index.removed))
            self._stored = np.setdiff1d(np.arange(index.rows, dtype=np.int64), gone)

    def __len__(self) -> int:
        return self._samples

    @property
    def is_sealed(self) -> bool:
        """Whether pictures of this split are kept encrypted."""
        return self._payload is not None

    def stored_row(self, row: int) -> int:
        """The row as which it was written: its key, which no delta changes."""
        return row if self._stored is None else int(self._stored[row])

    def check_files(self) -> None:
        """Check all shards now, so that forked children need not each. Raises ShardCorrupt."""
        for reader in self._readers:
            reader.check()

    def __getitem__(self, row: int) -> Sample:
        label, jpeg = self.jpeg(row)
        return Sample(image_rgb=decode_jpeg(jpeg), label=label)

    def jpeg(self, row: int) -> tuple[SampleLabel, bytes]:
        """Label and picture as it is stored, hash checked. Raises ShardCorrupt, StoreError where it is encrypted."""
        if not 0 <= row < self._samples:
            raise IndexError(row)
        stored = self.stored_row(row)
        reader = self._readers[bisect_right(self._ends, stored)]
        header, payload = unseal(reader.get(key_of(stored)), str(row))
        return self._opened(header, payload)

    def _opened(self, header: dict[str, JsonValue], payload: memoryview) -> tuple[SampleLabel, bytes]:
        opened = open_payload(self._payload, str(header.get("face_id")), SAMPLE_KIND, header, payload)
        label = SampleLabel(**header)  # type: ignore[arg-type]  # sealed by write_shards from the same fields
        return label, bytes(opened)

    def picture_in(self, record: memoryview, sha256: bytes, row: int) -> bytes | memoryview:
        """The JPEG of a record that `sealed` gave, if it is the one with this hash; uncopied where it is not encrypted.

        Raises ShardCorrupt, naming the row, when it is another record or its bytes have changed.
        """
        payload = payload_of(record, sha256, str(row))
        if has_payload_as_it_is(payload):
            return payload
        header, closed = unseal(record, str(row))
        return open_payload(self._payload, str(header.get("face_id")), SAMPLE_KIND, header, closed)

    def sealed(self, rows: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """Place in `rows` and sealed record of each row, in the order in which they lie on disk. Hashes are unchecked.

        For batches: one transaction a shard and nothing copied, so a record is valid only until the next is asked for.
        `seal.unseal` or `picture_in` checks it. Raises IndexError before anything is read.
        """
        places = sorted(range(len(rows)), key=rows.__getitem__)
        if places and not 0 <= rows[places[0]] <= rows[places[-1]] < self._samples:
            raise IndexError(rows[places[0]] if rows[places[0]] < 0 else rows[places[-1]])
        stored = rows if self._stored is None else self._stored[np.asarray(rows, np.int64)].tolist()
        for shard, group in groupby(places, key=lambda place: bisect_right(self._ends, stored[place])):
            inside = list(group)
            yield from zip(inside, self._readers[shard].views(key_of(stored[place]) for place in inside), strict=True)

    def __getitems__(self, rows: Sequence[int]) -> list[Sample]:
        return [self[row] for row in rows]

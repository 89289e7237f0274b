"""Training shards: LMDB files with a sha256 in every record, and an index that is written last.

Layout of a split: `shard-00000.lmdb … ` and `index.json` = {version, samples, shards: [file, samples, bytes, sha256]}.
A record's key is its row in the split (8 bytes, big endian); its value is sealed (see `seal`): header and JPEG.
Needs no torch: `ShardReader` has `__len__`, `__getitem__` and `__getitems__`, which a torch DataLoader takes as it is.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path

from facestore.errors import ShardCorrupt
from facestore.ids import JsonValue, canonical_json, file_sha256
from facestore.images import UInt8Array, decode_jpeg
from facestore.lmdbfile import LmdbReader, LmdbWriter
from facestore.seal import seal, unseal

INDEX = "index.json"
FORMAT_VERSION = 1


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


def _key(row: int) -> bytes:
    return row.to_bytes(8, "big")


def write_shards(
    split_dir: Path, samples: Iterable[tuple[SampleLabel, bytes]], samples_per_shard: int
) -> list[Written]:
    """Write labelled JPEGs in order; returns where each went. The index comes last: without it there is no split."""
    split_dir.mkdir(parents=True, exist_ok=True)
    (split_dir / INDEX).unlink(missing_ok=True)
    written: list[Written] = []
    shards: list[JsonValue] = []
    writer: LmdbWriter | None = None
    path = split_dir

    def close_shard() -> None:
        if writer is not None:
            writer.close(commit=True)
            entry: dict[str, JsonValue] = {
                "file": path.name,
                "samples": writer.records,
                "bytes": path.stat().st_size,
                "sha256": file_sha256(path),
            }
            shards.append(entry)

    try:
        for row, (label, jpeg) in enumerate(samples):
            if writer is None or row % samples_per_shard == 0:
                close_shard()
                path = split_dir / f"shard-{row // samples_per_shard:05d}.lmdb"
                writer = LmdbWriter(path)
            header: dict[str, JsonValue] = {name: getattr(label, name) for name in SampleLabel.__slots__}
            record = seal(header, jpeg)
            writer.put(_key(row), record)
            written.append(Written(shard=path.name, row=row, sha256=record[:32].hex()))
    except BaseException:
        if writer is not None:
            writer.close(commit=False)
        raise
    close_shard()
    index: JsonValue = {"version": FORMAT_VERSION, "samples": len(written), "shards": shards}
    (split_dir / INDEX).write_text(canonical_json(index) + "\n", encoding="utf-8")
    return written


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    file: str
    samples: int
    size_bytes: int
    sha256: str


def _read_index(path: Path) -> list[_Shard]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["version"] != FORMAT_VERSION:
            raise ShardCorrupt(
                f"{path}: format {index['version']!r}, this reader knows {FORMAT_VERSION}; run pack again"
            )
        shards = [
            _Shard(file=e["file"], samples=int(e["samples"]), size_bytes=int(e["bytes"]), sha256=e["sha256"])
            for e in index["shards"]
        ]
        is_whole = index["samples"] == sum(shard.samples for shard in shards)
        is_flat = all(Path(shard.file).name == shard.file for shard in shards)
    except (ValueError, KeyError, TypeError) as error:
        raise ShardCorrupt(f"{path} is not an index ({error!r}); run pack again") from error
    if not (is_whole and is_flat):
        raise ShardCorrupt(f"{path} contradicts itself: sample counts or file names are wrong; run pack again")
    return shards


class ShardReader:
    """Random access to one split. Picklable and safe to use after a fork; opens each shard on first use.

    `ShardReader(dir)[7]` is a Sample; every read checks the record's sha256 (ShardCorrupt). `verify_files` also
    checks the whole files against the index first.
    """

    def __init__(self, split_dir: Path, *, verify_files: bool = False) -> None:
        path = split_dir / INDEX
        if not path.is_file():
            raise ShardCorrupt(f"{split_dir} has no {INDEX}: the split was never finished; run pack again")
        shards = _read_index(path)
        for shard in shards:
            file = split_dir / shard.file
            if not file.is_file() or file.stat().st_size != shard.size_bytes:
                raise ShardCorrupt(f"{file}: missing or not {shard.size_bytes} bytes; run pack again")
            if verify_files and file_sha256(file) != shard.sha256:
                raise ShardCorrupt(f"{file}: sha256 differs from the index; run pack again")
        self._readers = [LmdbReader(split_dir / shard.file) for shard in shards]
        self._ends = list(accumulate(shard.samples for shard in shards))
        self._samples = self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, row: int) -> Sample:
        if not 0 <= row < self._samples:
            raise IndexError(row)
        reader = self._readers[bisect_right(self._ends, row)]
        header, jpeg = unseal(reader.get(_key(row)), str(row))
        label = SampleLabel(**header)  # type: ignore[arg-type]  # sealed by write_shards from the same fields
        return Sample(image_rgb=decode_jpeg(jpeg), label=label)

    def sealed(self, rows: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """Place in `rows` and sealed record of each row, in the order in which they lie on disk. Hashes are unchecked.

        For batches: one transaction a shard and nothing copied, so a record is valid only until the next is asked for.
        `seal.unseal` or `seal.payload_of` checks it. Raises IndexError before anything is read.
        """
        places = sorted(range(len(rows)), key=rows.__getitem__)
        if places and not 0 <= rows[places[0]] <= rows[places[-1]] < self._samples:
            raise IndexError(rows[places[0]] if rows[places[0]] < 0 else rows[places[-1]])
        for shard, group in groupby(places, key=lambda place: bisect_right(self._ends, rows[place])):
            inside = list(group)
            yield from zip(inside, self._readers[shard].views(_key(rows[place]) for place in inside), strict=True)

    def __getitems__(self, rows: Sequence[int]) -> list[Sample]:
        return [self[row] for row in rows]

"""The labels of a split as columns: what samplers need to know before a picture is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError, ShardCorrupt
from facestore.records import ReleaseSample
from facestore.seal import digest_in, unseal
from facestore.shards import SampleLabel, ShardReader
from facestore.tables import read_columns

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_SAMPLES = "samples"
_COLUMNS = ("split", "row", "class_index", "confidence", "quality", "sha256")
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitLabels:
    """By row of the split: `class_index` (n,) int64 ≥ 0, `confidence` and `quality` (n,) float32 in [0, 1].

    `digests` holds the sha256 of the n records, one after the other: a record that has it is the one these labels mean.
    """

    class_index: Int64Array
    confidence: Float32Array
    quality: Float32Array
    digests: bytes

    def __len__(self) -> int:
        return len(self.class_index)

    def digest_of(self, row: int) -> bytes:
        return self.digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES]


def read_labels(split_dir: Path, shards: ShardReader) -> SplitLabels:
    """From the release's samples.parquet beside the split; without it, from the records, which reads them all.

    Raises DataError when the split is empty or a sample has no class (only `train` has), ShardCorrupt when table and
    shards contradict each other.
    """
    has_table = (split_dir.parent / f"{_SAMPLES}.parquet").is_file()
    labels = _from_table(split_dir, len(shards)) if has_table else _from_records(shards)
    if not len(labels):
        raise DataError(f"split {split_dir.name} is empty: nothing to train on; label more, or pack with other shares")
    if labels.class_index.min() < 0:
        unlabelled = int((labels.class_index < 0).sum())
        raise DataError(f"split {split_dir.name}: {unlabelled} samples have no class; train on the split `train`")
    return labels


def _from_records(shards: ShardReader) -> SplitLabels:
    labels: list[SampleLabel] = []
    digests = bytearray()
    for row, record in shards.sealed(range(len(shards))):
        header, _ = unseal(record, str(row))
        labels.append(SampleLabel(**header))  # type: ignore[arg-type]  # sealed by write_shards from the same fields
        digests += digest_in(record)
    return SplitLabels(
        class_index=np.array([label.class_index for label in labels], np.int64),
        confidence=np.array([label.confidence for label in labels], np.float32),
        quality=np.array([label.quality for label in labels], np.float32),
        digests=bytes(digests),
    )


def _from_table(split_dir: Path, samples: int) -> SplitLabels:
    table = read_columns(split_dir.parent, _SAMPLES, ReleaseSample, _COLUMNS)
    rows, split = table["row"].to_numpy(), table["split"].to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(split == split_dir.name)
    chosen = chosen[np.argsort(rows[chosen], kind="stable")]
    digests = bytes.fromhex("".join(table["sha256"].take(chosen).to_pylist()))
    if not np.array_equal(rows[chosen], np.arange(samples)) or len(digests) != samples * _DIGEST_BYTES:
        raise ShardCorrupt(
            f"split {split_dir.name}: {samples} records in its shards, {len(chosen)} in samples.parquet; run pack again"
        )
    return SplitLabels(
        class_index=table["class_index"].to_numpy()[chosen].astype(np.int64),
        confidence=table["confidence"].to_numpy()[chosen].astype(np.float32),
        quality=table["quality"].to_numpy()[chosen].astype(np.float32),
        digests=digests,
    )

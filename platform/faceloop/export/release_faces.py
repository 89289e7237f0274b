"""Faces of a release that export looks at: some to calibrate on, others to compare on, never the same.

Chosen by the hash of their id, so that the choice does not depend on the order of rows or on a generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.vision.arrays import UInt8Array
from facestore.errors import DataError
from facestore.ids import sha256_hex
from facestore.records import ReleaseSample
from facestore.shards import ShardReader
from facestore.tables import read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCrops:
    """`crops_rgb` uint8 (n, 112, 112, 3); `identities` int64 (n,), equal where the person is."""

    face_ids: tuple[str, ...]
    crops_rgb: UInt8Array
    identities: NDArray[np.int64]


def choose_stratified(samples: Sequence[ReleaseSample], *, strata: int, count: int, seed: int) -> list[ReleaseSample]:
    """`count` samples, or all where there are fewer, as evenly as possible from `strata` bands of quality.

    Bands hold equally many samples each. A calibration set without blurred and dark faces would give scales that
    clip exactly those. Independent of the order given; sorted by quality.
    """
    ranked = sorted(samples, key=lambda sample: (sample.quality, sample.face_id))
    edges = np.linspace(0, len(ranked), strata + 1).round().astype(int)
    bands = [
        sorted(ranked[start:end], key=lambda sample: sha256_hex(f"{seed}:{sample.face_id}".encode()))
        for start, end in pairwise(edges.tolist())
    ]
    # Round by round over the bands: where one runs out, the others fill up.
    rounds = max((len(band) for band in bands), default=0)
    taken = [band[turn] for turn in range(rounds) for band in bands if turn < len(band)][:count]
    return sorted(taken, key=lambda sample: (sample.quality, sample.face_id))


def read_samples(release: Path, splits: Sequence[str]) -> list[ReleaseSample]:
    """Rows of `samples.parquet` of these splits."""
    table = read_table(release, "samples", ReleaseSample)
    return [sample for sample in table if sample.split in splits]


def read_crops(release: Path, samples: Sequence[ReleaseSample]) -> LabelledCrops:
    """Decode samples, in the order given; each record's sha256 is checked (ShardCorrupt).

    Raises DataError for none.
    """
    if not samples:
        raise DataError("the release has no faces to calibrate or compare on; take a release with a test or val split")
    readers = {split: ShardReader(release / split) for split in sorted({sample.split for sample in samples})}
    names = sorted({sample.identity_id for sample in samples})
    number_of = {name: number for number, name in enumerate(names)}
    return LabelledCrops(
        face_ids=tuple(sample.face_id for sample in samples),
        crops_rgb=np.stack([readers[sample.split][sample.row].image_rgb for sample in samples]),
        identities=np.array([number_of[sample.identity_id] for sample in samples], dtype=np.int64),
    )

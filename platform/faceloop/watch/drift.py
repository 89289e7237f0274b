"""Drift: how far the faces of now are from those of a reference, in quality and in embeddings.

A profile is a few hundred numbers, so every version ever measured can be kept and compared with.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.watch.columns import pieces
from facestore.errors import DataError
from facestore.measurements import Profile

QUALITY_BINS = 10  # equal, over [0, 1]
_DISTANCE_BINS = 4_000  # equal, over [0, 2]: a quantile of distances to 0.0005
_MEAN_DIGITS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good the accepted faces are."""

    faces: int
    shares: tuple[float, ...]  # by quality, in QUALITY_BINS bins; zeros without faces


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """What one pass over the stored vectors finds."""

    vectors: int
    mean: tuple[float, ...]  # empty without vectors
    not_finite: int
    not_unit: int  # length further than 0.001 from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Between a reference and now. None where one of them has no faces or the recognisers differ."""

    quality_psi: float | None  # population stability index over QUALITY_BINS bins
    embedding_distance: float | None  # 1 - cosine between the mean vectors
    outlier_ratio: float | None  # share of now beyond the reference's 99 % distance from the reference's mean


def look_at_quality(faces: Path) -> Quality:
    counts = np.zeros(QUALITY_BINS, np.int64)
    for piece in pieces(faces, "faces", "quality", "rejected"):
        accepted = piece.filter(pc.is_null(piece.column("rejected")))
        quality = np.asarray(accepted.column("quality"), dtype=np.float64)
        places = np.clip((quality * QUALITY_BINS).astype(np.int64), 0, QUALITY_BINS - 1)
        counts += np.bincount(places, minlength=QUALITY_BINS)
    accepted_faces = int(counts.sum())
    return Quality(faces=accepted_faces, shares=tuple((counts / max(1, accepted_faces)).tolist()))


def look_at_vectors(embeddings: Path) -> Vectors:
    """Mean, and what no embedding may be. Vectors that are not finite stay out of the mean."""
    total: NDArray[np.float64] | None = None
    seen = not_finite = not_unit = 0
    for block in _blocks(embeddings):
        is_finite = np.isfinite(block).all(axis=1)
        good = block[is_finite]
        seen += len(block)
        not_finite += int((~is_finite).sum())
        not_unit += int((np.abs(np.linalg.norm(good, axis=1) - 1.0) > 1e-3).sum())
        summed = good.sum(axis=0, dtype=np.float64)
        total = summed if total is None else total + summed
    if total is None or seen == not_finite:
        return Vectors(vectors=seen, mean=(), not_finite=not_finite, not_unit=not_unit)
    mean = np.round(total / (seen - not_finite), _MEAN_DIGITS)
    return Vectors(vectors=seen, mean=tuple(mean.tolist()), not_finite=not_finite, not_unit=not_unit)


def distance_quantile(embeddings: Path, mean: tuple[float, ...], share: float) -> float:
    """Cosine distance from the mean's direction within which `share` of the vectors lie; 0 without vectors."""
    counts = np.zeros(_DISTANCE_BINS, np.int64)
    for distances in _distances(embeddings, mean):
        places = np.clip(np.ceil(distances / 2 * _DISTANCE_BINS).astype(np.int64) - 1, 0, _DISTANCE_BINS - 1)
        counts += np.bincount(places, minlength=_DISTANCE_BINS)
    if not counts.sum():
        return 0.0
    reached = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
    return (min(reached, _DISTANCE_BINS - 1) + 1) * 2 / _DISTANCE_BINS


def outlier_ratio(embeddings: Path, reference: Profile) -> float | None:
    """Share of vectors beyond the reference's 99 % distance: 0.01 where nothing changed. None without vectors."""
    seen = beyond = 0
    for distances in _distances(embeddings, reference.mean):
        seen += len(distances)
        beyond += int((distances > reference.distance_99).sum())
    return beyond / seen if seen else None


def compare(reference: Profile, now: Profile, embeddings: Path) -> Drift:
    """`embeddings` is the artifact that `now` was made from."""
    is_comparable = reference.contract_id == now.contract_id and bool(reference.mean) and bool(now.mean)
    if not reference.faces or not now.faces:
        return Drift(quality_psi=None, embedding_distance=None, outlier_ratio=None)
    return Drift(
        quality_psi=stability_index(reference, now),
        embedding_distance=1.0 - _cosine(reference.mean, now.mean) if is_comparable else None,
        outlier_ratio=outlier_ratio(embeddings, reference) if is_comparable else None,
    )


def stability_index(reference: Profile, now: Profile) -> float:
    """Σ (now - then) · ln(now / then) over the bins of quality; half a face is added to each bin, so that an empty bin
    of a small root does not count as infinitely far. 0: alike; above 0.25 is commonly called a shift."""
    pairs = zip(_smoothed(reference), _smoothed(now), strict=True)
    return max(0.0, sum((b - a) * log(b / a) for a, b in pairs))


def _smoothed(profile: Profile) -> list[float]:
    bins = len(profile.quality_shares)
    return [(share * profile.faces + 0.5) / (profile.faces + 0.5 * bins) for share in profile.quality_shares]


def _cosine(first: tuple[float, ...], second: tuple[float, ...]) -> float:
    a, b = np.asarray(first), np.asarray(second)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))


def _distances(embeddings: Path, mean: tuple[float, ...]) -> Iterator[NDArray[np.float64]]:
    direction = np.asarray(mean, dtype=np.float64)
    direction = (direction / max(float(np.linalg.norm(direction)), 1e-12)).astype(np.float32)
    for block in _blocks(embeddings):
        if block.shape[1] != len(direction):
            raise DataError(
                f"{embeddings}: vectors of {block.shape[1]} numbers, the reference has {len(direction)}; "
                "run embed again"
            )
        good = block[np.isfinite(block).all(axis=1)]
        yield 1.0 - (good @ direction).astype(np.float64)


def _blocks(embeddings: Path) -> Iterator[NDArray[np.float32]]:
    """(n, dim) stored vectors of faces. Raises DataError when lengths differ."""
    width = None
    for piece in pieces(embeddings, "faces", "embedding"):
        column = piece.column("embedding")
        if not len(column):
            continue
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        width = width or lengths[0]
        if lengths != [width] or not width:
            raise DataError(f"{embeddings}: vectors of different lengths; run embed again")
        yield np.asarray(column.flatten(), dtype=np.float32).reshape(len(column), width)

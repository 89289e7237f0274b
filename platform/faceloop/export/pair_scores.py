"""What pairs of vectors say about people: acceptance at a false accept rate, and groups, both small and exact.

Evaluation measures a model at length; here two forms of one model are compared on the same faces, so that a few
hundred faces tell them apart.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from faceloop.clustering.metrics import score_partition
from faceloop.vision.arrays import Float32Array

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Share of genuine pairs accepted (`tar`) where at most the share `far` of impostor pairs is."""

    far: float
    tar: float
    threshold: float  # cosine; pairs above it are accepted


def pair_similarities(vectors: Float32Array) -> FloatArray:
    """Cosines of all unordered pairs of unit vectors (n, d): (n (n - 1) / 2,), in the order of `np.triu_indices`."""
    rows, cols = np.triu_indices(len(vectors), k=1)
    wide = vectors.astype(np.float64)
    return np.asarray((wide @ wide.T)[rows, cols], dtype=np.float64)


def is_genuine(identities: IntArray) -> NDArray[np.bool_]:
    """For the pairs of `pair_similarities`, whether both are of one person."""
    rows, cols = np.triu_indices(len(identities), k=1)
    return np.asarray(identities[rows] == identities[cols], dtype=np.bool_)


def acceptance(
    similarities: FloatArray, genuine: NDArray[np.bool_], *, far: float, least_false_accepts: int
) -> Acceptance | None:
    """TAR at a false accept rate that these pairs can support; None where one kind of pair is missing.

    A rate under which fewer than `least_false_accepts` impostor pairs would pass is a statement about chance: the
    smallest rate that is supported is taken instead, and named in the result. At most 0.5.
    """
    impostors, kin = similarities[~genuine], similarities[genuine]
    if not len(impostors) or not len(kin):
        return None
    supported = min(max(far, least_false_accepts / len(impostors)), 0.5)
    passing = int(np.floor(supported * len(impostors)))
    threshold = float(np.sort(impostors)[::-1][passing])  # strictly above it: at most `passing` impostor pairs
    return Acceptance(far=supported, tar=float((kin > threshold).mean()), threshold=threshold)


def best_cut(vectors: Float32Array, identities: IntArray) -> float:
    """Cosine at which average linkage (UPGMA) agrees best with the identities, on a grid of 0.01 in [0, 0.95].

    Of many that are as good, the middle one: at the edge of a plateau any other form of the model would fall off.
    """
    tree = _tree(vectors)
    cuts = [round(0.01 * step, 2) for step in range(96)]
    scores = [_pairwise_f(tree, identities, cut) for cut in cuts]
    best = [cut for cut, score in zip(cuts, scores, strict=True) if score >= max(scores) - 1e-9]
    return best[len(best) // 2]


def grouping_f(vectors: Float32Array, identities: IntArray, *, cut: float) -> float:
    """Pairwise F of average linkage cut at a cosine; 1 for a single face."""
    return _pairwise_f(_tree(vectors), identities, cut)


def _tree(vectors: Float32Array) -> FloatArray:
    if len(vectors) < 2:
        return np.empty((0, 4))
    wide = vectors.astype(np.float64)
    distances = np.clip(1.0 - wide @ wide.T, 0.0, 2.0)
    np.fill_diagonal(distances, 0.0)
    return np.asarray(linkage(squareform(distances, checks=False), method="average"))


def _pairwise_f(tree: FloatArray, identities: IntArray, cut: float) -> float:
    if not len(tree):
        return 1.0
    groups = fcluster(tree, t=1.0 - cut, criterion="distance").astype(np.int64)
    return score_partition(groups, identities).pairwise_f

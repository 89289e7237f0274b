"""Two sub-centres for every cluster at once: where it would part, if it had to.

The idea of sub-centres is from Deng et al. 2020, "Sub-center ArcFace": one person may need two centres, and
two people under one label always do. Here: the direction in which a cluster varies most (power iteration),
then a few rounds of spherical 2-means (Dhillon & Modha 2001). Cost: rounds × nodes × dimensions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import row_dots

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
_POWER_ROUNDS = 4
_MEANS_ROUNDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """Clusters cut in two; cluster c has the halves 2c and 2c + 1. Similarities are less hubness."""

    of_node: Int64Array  # (n,) half of each node, -1 where the node has no cluster
    nodes: Int64Array  # (2c,) nodes in each half
    between: Float64Array  # (c,) mean similarity of the two halves; nan where one is empty
    coherence: Float64Array  # (c,) mean similarity of different nodes of the whole; nan for fewer than two


def halve(leaves: Clusters, labels: Int64Array, count: int, tie: Int64Array) -> Halves:
    """Halves of `count` clusters. `leaves` are the nodes as clusters of one, `labels` (n,) theirs or -1.

    Nodes of one `tie` (n,), numbers >= 0, are kept in one half: the one that holds more of their weight.
    """
    is_in = np.flatnonzero(labels >= 0)
    within, weights = labels[is_in], leaves.weights[is_in]
    vectors = (leaves.vector_sums[is_in] / weights[:, None]).astype(np.float32)
    is_second = _two_means(vectors, weights, within, count)
    is_second = _with_majority(is_second, weights, within, tie[is_in])
    half = 2 * within + is_second
    of_node = np.full(len(labels), -1, np.int64)
    of_node[is_in] = half
    inside = Clusters(vector_sums=leaves.vector_sums[is_in], weights=weights, hubness_sums=leaves.hubness_sums[is_in])
    parts = inside.gathered(half, 2 * count)
    return Halves(
        of_node=of_node,
        nodes=np.bincount(half, minlength=2 * count).astype(np.int64),
        between=_between(parts),
        coherence=coherence(inside, within, count),
    )


def coherence(leaves: Clusters, labels: Int64Array, count: int) -> Float64Array:
    """Mean similarity, less hubness, over the pairs of different nodes of each cluster, (c,) f64; nan without a pair.

    From sums alone: the square of a sum holds all pairs, and each node with itself.
    """
    whole = leaves.gathered(labels, count)
    weight = leaves.weights.astype(np.float64)
    squares = np.einsum("nd,nd->n", leaves.vector_sums, leaves.vector_sums).astype(np.float64)
    own_hubness = 2 * weight * leaves.hubness_sums
    itself = np.bincount(labels, squares - own_hubness, count)
    sums, total = whole.vector_sums.astype(np.float64), whole.weights.astype(np.float64)
    everything = np.einsum("cd,cd->c", sums, sums) - 2 * total * whole.hubness_sums
    pairs = total**2 - np.bincount(labels, weight**2, count)
    has_pair = np.bincount(labels, minlength=count) > 1
    return np.where(has_pair, (everything - itself) / np.where(has_pair, pairs, 1), np.nan)


def _two_means(vectors: Float32Array, weights: Float32Array, labels: Int64Array, count: int) -> BoolArray:
    """Whether each row goes to the second half of its cluster, (n,) bool."""
    rows = np.arange(len(labels))
    sums_of = csr_array((weights, (labels, rows)), shape=(count, len(labels)))
    mass = np.maximum(np.bincount(labels, weights, count), 1e-12)[:, None]
    centre = (sums_of @ vectors / mass).astype(np.float32)
    spread = row_dots(vectors, rows, centre, labels)
    farthest = np.lexsort((rows, spread, labels))
    first = farthest[np.unique(labels[farthest], return_index=True)[1]]
    axis = np.zeros_like(centre)
    axis[labels[first]] = vectors[first] - centre[labels[first]]
    for _ in range(_POWER_ROUNDS):
        along = row_dots(vectors, rows, axis, labels) - np.einsum("cd,cd->c", centre, axis)[labels]
        moved = csr_array((weights * along, (labels, rows)), shape=(count, len(labels)))
        axis = moved @ vectors - np.bincount(labels, weights * along, count)[:, None] * centre
        axis = (axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    along = row_dots(vectors, rows, axis, labels) - np.einsum("cd,cd->c", centre, axis)[labels]
    is_second: BoolArray = along > 0
    for _ in range(_MEANS_ROUNDS):
        half = 2 * labels + is_second
        sums = csr_array((weights, (half, rows)), shape=(2 * count, len(labels))) @ vectors
        centres = (sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)).astype(np.float32)
        to_second = row_dots(vectors, rows, centres, 2 * labels + 1) > row_dots(vectors, rows, centres, 2 * labels)
        if (to_second == is_second).all():
            break
        is_second = to_second
    return is_second


def _with_majority(is_second: BoolArray, weights: Float32Array, labels: Int64Array, tie: Int64Array) -> BoolArray:
    """Move each node to the half in which more of its tie's weight lies; ties across clusters count per cluster."""
    _, group = np.unique(labels * (int(tie.max(initial=0)) + 1) + tie, return_inverse=True)
    lean = np.bincount(group, np.where(is_second, weights, -weights))
    moved: BoolArray = lean[group] > 0
    return moved


def _between(parts: Clusters) -> Float64Array:
    is_full = (parts.weights[0::2] > 0) & (parts.weights[1::2] > 0)
    weights = np.where(parts.weights > 0, parts.weights, 1).astype(np.float64)
    means = parts.vector_sums / weights[:, None]
    hubness = parts.hubness_sums / weights
    similarity = np.einsum("cd,cd->c", means[0::2], means[1::2]) - hubness[0::2] - hubness[1::2]
    return np.where(is_full, similarity, np.nan)

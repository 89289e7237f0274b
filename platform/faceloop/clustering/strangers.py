"""Compiled loops over a cluster's near clusters: means of cohorts, and the best rival of each node."""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.compiled import compiled, dot

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@compiled
def cohort_means(
    units: Float32Array,
    means: Float32Array,
    candidates: Int64Array,
    of_unit: Int64Array,
    group_of: Int64Array,
    skipped: int,
    cohort: int,
    ceiling: float,
) -> tuple[NDArray[np.float64], Int64Array]:
    """For each unit (u, d) the mean inner product with its cohort among the `candidates` (c, k) of its cluster
    `of_unit` (u,), and how many stood in it, (u,) each. The cohort are the `cohort` most similar after the
    `skipped` first, of another group (`group_of` (c,)), as far as they are below `ceiling`."""
    mean, size = np.zeros(len(units)), np.zeros(len(units), np.int64)
    scores = np.empty(candidates.shape[1])
    for unit in range(len(units)):
        own = of_unit[unit]
        held = 0
        for place in range(candidates.shape[1]):
            other = candidates[own, place]
            if other >= 0 and group_of[other] != group_of[own]:
                scores[held] = -dot(units[unit], means[other])
                held += 1
        scores[:held].sort()
        for place in range(skipped, min(held, skipped + cohort)):
            if -scores[place] < ceiling:
                mean[unit] -= scores[place]
                size[unit] += 1
        if size[unit] > 0:
            mean[unit] /= size[unit]
    return mean, size


@compiled
def best_rivals(
    nodes: Float32Array,
    node_hubness: Float32Array,
    means: Float32Array,
    hubness: Float32Array,
    candidates: Int64Array,
    of_node: Int64Array,
    group_of: Int64Array,
    rows: Int64Array,
    cols: Int64Array,
) -> Float32Array:
    """Similarity of each node (n, d) to the best cluster of another group, (n,) f32, -1 where there is none: among the
    `candidates` (c, k) near its own cluster `of_node` (n,) and the clusters of its neighbours (edges rows, cols)."""
    best = np.full(len(nodes), np.float32(-1))
    seen = np.full(len(nodes), -1, np.int64)
    for node in range(len(nodes)):
        own = of_node[node]
        for place in range(candidates.shape[1]):
            other = candidates[own, place]
            if other >= 0 and group_of[other] != group_of[own]:
                score = np.float32(dot(nodes[node], means[other]) - node_hubness[node] - hubness[other])
                best[node] = max(best[node], score)
    for edge in range(len(rows)):
        if group_of[of_node[rows[edge]]] == group_of[of_node[cols[edge]]]:
            continue
        for side in range(2):
            node, other = rows[edge], of_node[cols[edge]]
            if side == 1:
                node, other = cols[edge], of_node[rows[edge]]
            if seen[node] != other:
                seen[node] = other
                score = np.float32(dot(nodes[node], means[other]) - node_hubness[node] - hubness[other])
                best[node] = max(best[node], score)
    return best

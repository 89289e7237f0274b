"""Average linkage on a neighbour graph, by rounds of reciprocal nearest neighbours.

Two clusters that are each other's best partner can be merged in any order without changing the
outcome of average linkage (it is *reducible*: Murtagh 1983, "A survey of recent advances in
hierarchical clustering algorithms"; in rounds: Sumengen et al. 2021, "Scaling hierarchical
agglomerative clustering to billion-sized datasets"). So each round merges all such pairs at once, and
the loop runs over rounds only.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import unique_pairs
from faceloop.clustering.knn import Edges

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


def link(clusters: Clusters, edges: Edges, cannot_link: Int64Array, *, min_similarity: float) -> Int64Array:
    """Merge clusters that an edge joins while their similarity is at least `min_similarity`; the pairs
    in `cannot_link` (p, 2) never share a result, nor do clusters that hold them.

    Returns the new cluster of each given one, (c,) int64, numbered by smallest member. Ties go to the
    smallest number, so the outcome depends on the input alone.
    """
    count = len(clusters.weights)
    of_cluster: Int64Array = np.arange(count, dtype=np.int64)
    cannot_link = unique_pairs(cannot_link)
    every = unique_pairs(np.stack([edges.rows, edges.cols], axis=1))
    pairs, scores = _open_pairs(clusters, every, cannot_link, min_similarity)
    while True:
        kept, gone = _reciprocal_pairs(pairs, scores, count)
        if len(kept) == 0:
            return of_cluster
        renumber, is_touched = _renumbering(kept, gone, count)
        count -= len(gone)
        clusters = clusters.gathered(renumber, count)
        of_cluster = renumber[of_cluster]
        cannot_link = unique_pairs(renumber[cannot_link])
        is_stale = is_touched[pairs].any(axis=1)
        stale = renumber[pairs[is_stale]]
        stale = unique_pairs(stale[stale[:, 0] != stale[:, 1]])
        fresh, fresh_scores = _open_pairs(clusters, stale, cannot_link, min_similarity)
        pairs = np.concatenate([renumber[pairs[~is_stale]], fresh])
        scores = np.concatenate([scores[~is_stale], fresh_scores])


def _open_pairs(
    clusters: Clusters, pairs: Int64Array, cannot_link: Int64Array, min_similarity: float
) -> tuple[Int64Array, Float32Array]:
    """The pairs that may still merge, with their similarity.

    Dropping what falls short is exact: the similarity of a merged cluster is an average of its parts'
    similarities, so it can only reach the threshold where a part already does.
    """
    if len(cannot_link):
        base = len(clusters.weights)
        forbidden = cannot_link[:, 0] * base + cannot_link[:, 1]
        pairs = pairs[~np.isin(pairs[:, 0] * base + pairs[:, 1], forbidden)]
    scores = clusters.similarity(pairs[:, 0], pairs[:, 1])
    is_open = scores >= min_similarity
    return pairs[is_open], scores[is_open]


def _reciprocal_pairs(pairs: Int64Array, scores: Float32Array, count: int) -> tuple[Int64Array, Int64Array]:
    """Pairs that prefer each other, as (smaller, larger). Equal scores prefer the smaller number: then
    the smallest cluster on a best edge is always preferred back, so there is progress."""
    source = np.concatenate([pairs[:, 0], pairs[:, 1]])
    target = np.concatenate([pairs[:, 1], pairs[:, 0]])
    both = np.concatenate([scores, scores])
    best = np.full(count, -np.inf, np.float32)
    np.maximum.at(best, source, both)
    is_best = both == best[source]
    partner = np.full(count, count, np.int64)
    np.minimum.at(partner, source[is_best], target[is_best])
    has_partner = np.flatnonzero(partner < count)
    chosen = partner[has_partner]
    is_first = (partner[chosen] == has_partner) & (has_partner < chosen)
    return has_partner[is_first], chosen[is_first]


def _renumbering(kept: Int64Array, gone: Int64Array, count: int) -> tuple[Int64Array, NDArray[np.bool_]]:
    stay = np.ones(count, np.bool_)
    stay[gone] = False
    renumber = np.cumsum(stay, dtype=np.int64) - 1
    renumber[gone] = renumber[kept]
    is_touched = ~stay
    is_touched[kept] = True
    return renumber, is_touched

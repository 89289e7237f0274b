"""A second look at nodes that stayed alone: join the one cluster that clearly fits best.

A hard photo (profile, blur) resembles nobody much, so it misses the threshold of linkage; but it still
resembles its own person clearly more than anyone else, and the mean of a whole cluster is a steady
thing to compare with. The test is the gap between best and second best (Lowe's ratio test, 2004, as a
difference), with a low floor.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, SearchParams, nearest
from faceloop.clustering.linkage import link

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_CANDIDATES = 16  # nearest clusters looked at before hubness is taken off


def attach_lone_nodes(
    clusters: Clusters,
    node_counts: Int64Array,
    cannot_link: Int64Array,
    *,
    min_similarity: float,
    min_margin: float,
    search: SearchParams,
) -> Int64Array:
    """New cluster of each given one, (c,) int64, numbered by smallest member.

    A cluster of one node (`node_counts` (c,) says so) joins its most similar cluster if that one holds
    at least two nodes, is at least `min_similarity` near, and `min_margin` nearer than any other.
    Pairs in `cannot_link` (p, 2) never share a result.
    """
    lone = np.flatnonzero(node_counts == 1)
    unchanged = np.arange(len(node_counts), dtype=np.int64)
    if len(lone) == 0 or len(lone) == len(node_counts):
        return unchanged
    means = clusters.means()
    found = nearest(means[lone], means, _CANDIDATES, search)
    index = np.where(found.index >= 0, found.index, lone[:, None])
    flat = clusters.similarity(np.repeat(lone, index.shape[1]), index.ravel())
    similarity = np.where(index == lone[:, None], -np.inf, flat.reshape(index.shape))
    place = np.arange(len(lone))
    best_at = similarity.argmax(axis=1)
    best, target = similarity[place, best_at], index[place, best_at]
    similarity[place, best_at] = -np.inf
    # With nobody else around there is no second best: the floor alone decides.
    second = similarity.max(axis=1)
    is_clear = (best >= min_similarity) & (best - min_margin >= second) & (node_counts[target] > 1)
    wish = Edges(rows=lone[is_clear], cols=target[is_clear], similarity=best[is_clear])
    return link(clusters, wish, cannot_link, min_similarity=min_similarity)

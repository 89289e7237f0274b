"""A second look at nodes that stayed alone: join the one cluster that clearly fits best.

A hard photo (profile, blur) resembles nobody much, so it misses the threshold of linkage; but it still
resembles its own person clearly more than anyone else, and the mean of a whole cluster is a steady
thing to compare with. The test is the gap between best and second best (Lowe's ratio test, 2004, as a
difference), with a low floor.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, row_dots
from faceloop.clustering.linkage import link
from faceloop.clustering.ties import Ties

Int64Array = NDArray[np.int64]


def attach_lone_nodes(
    clusters: Clusters,
    candidates: Int64Array,
    node_counts: Int64Array,
    ties: Ties,
    *,
    min_similarity: float,
    min_margin: float,
) -> Int64Array:
    """New cluster of each given one, (c,) int64, numbered by smallest member.

    A cluster whose group has one node (`node_counts` (groups,) says so) joins the most similar of its `candidates`
    (c, k; -1 where there is none) if the group of that one holds at least two nodes, it is at least
    `min_similarity` near, and `min_margin` nearer than any other group. Nothing is joined that `ties` forbid.
    """
    lone = np.flatnonzero(node_counts[ties.group_of] == 1)
    if len(lone) == 0 or len(lone) == len(ties.group_of):
        return np.arange(len(ties.group_of), dtype=np.int64)
    index = np.where(candidates[lone] >= 0, candidates[lone], lone[:, None])
    flat = clusters.similarity(np.repeat(lone, index.shape[1]), index.ravel())
    similarity = np.where(index == lone[:, None], -np.inf, flat.reshape(index.shape))
    place = np.arange(len(lone))
    best_at = similarity.argmax(axis=1)
    best, target = similarity[place, best_at], index[place, best_at]
    group = ties.group_of[index]
    # With nobody else around there is no second best: the floor alone decides.
    second = np.where(group == group[place, best_at][:, None], -np.inf, similarity).max(axis=1)
    has_company = node_counts[ties.group_of[target]] > 1
    is_clear = (best >= min_similarity) & (best - min_margin >= second) & has_company
    rows, cols, means = lone[is_clear], target[is_clear], clusters.means()
    wish = Edges(rows=rows, cols=cols, similarity=row_dots(means, rows, means, cols))
    return link(clusters, wish, ties, min_similarity=min_similarity)

"""Linkage around a few active clusters among many that stand: the step across of an incremental run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, Neighbours, edges_to, nearest
from faceloop.clustering.linkage import link
from faceloop.clustering.subsets import Reach
from faceloop.clustering.ties import Ties

BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What linkage made of the given clusters."""

    of_cluster: Int64Array  # (c,) new cluster of each given one, numbered by smallest member
    clusters: Clusters  # the new ones
    ties: Ties  # theirs
    searched: int  # queries answered after the first search, each against all clusters
    is_looked_at: BoolArray  # (c,) given clusters that were active or near enough to one to be merged with it


def grow(
    clusters: Clusters, ties: Ties, active: Int64Array, found: Neighbours, reach: Reach, *, min_similarity: float
) -> Growth:
    """Merge the `active` clusters (a,) with any others down to `min_similarity`, and on with what they became.

    `found` are the neighbours of the active ones among all. Pairs of clusters that are not active were settled
    earlier and are not asked again. Repeats, as the full linkage across does, until nothing merges.
    """
    of_cluster: Int64Array = np.arange(len(clusters.weights), dtype=np.int64)
    is_looked_at = np.zeros(len(of_cluster), np.bool_)
    is_looked_at[active] = True
    edges, searched, means = Edges.none(), 0, clusters.means()
    while len(active):
        lowest = clusters.lowest_bare_similarity(min_similarity)
        edges = Edges.joined([edges, edges_to(means, active, found, min_similarity=lowest)])
        is_open = clusters.similarity(edges.rows, edges.cols) >= min_similarity
        is_near = np.zeros(len(means), np.bool_)
        is_near[edges.rows[is_open]] = is_near[edges.cols[is_open]] = True
        is_looked_at |= is_near[of_cluster]
        merged = link(clusters, edges, ties, min_similarity=min_similarity)
        active = np.flatnonzero(np.bincount(merged) > 1)
        if len(active) == 0:
            break
        of_cluster = merged[of_cluster]
        clusters, ties = clusters.gathered(merged, int(merged.max()) + 1), ties.after(merged)
        means = clusters.means()
        edges = edges.between(merged, means)
        found = nearest(means[active], means, reach.neighbours + 1, reach.search)
        searched += len(active)
    return Growth(of_cluster=of_cluster, clusters=clusters, ties=ties, searched=searched, is_looked_at=is_looked_at)

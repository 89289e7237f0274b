"""Linkage in two steps: inside each subset, then across all on the means of what came out.

The order of "A Million-Scale Face Dataset" pipelines: photos of one album, camera or session share
light and people, so the easy merges are made there, between fewer candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, SearchParams, edges_to, knn_graph, nearest
from faceloop.clustering.linkage import link
from faceloop.clustering.ties import Ties

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the neighbour graphs reach."""

    neighbours: int
    search: SearchParams


def edges_inside(clusters: Clusters, subset: NDArray[np.int32], reach: Reach, *, min_similarity: float) -> Edges:
    """Neighbour graph whose edges stay inside one subset (c,)."""
    means = clusters.means()
    order = np.argsort(subset, kind="stable")
    starts = np.flatnonzero(np.diff(subset[order]) != 0) + 1
    parts = [Edges.none()]
    for members in np.split(order, starts):
        if len(members) > 1:
            own = means if len(members) == len(means) else means[members]
            found = knn_graph(own, reach.neighbours, params=reach.search, min_similarity=min_similarity)
            parts.append(Edges(rows=members[found.rows], cols=members[found.cols], similarity=found.similarity))
    return Edges.joined(parts) if len(parts) > 2 else parts[-1]


def link_within_then_across(
    clusters: Clusters,
    inside: Edges,
    ties: Ties,
    reach: Reach,
    *,
    within_similarity: float,
    across_similarity: float,
) -> Int64Array:
    """New cluster of each given one, (c,) int64, numbered by smallest member. See `link`.

    The step across repeats with a fresh search for the means that changed until nothing merges: the parts of a
    person seen a thousand times are each other's neighbours only once they are few.
    """
    of_cluster = link(clusters, inside, ties, min_similarity=within_similarity)
    count = int(of_cluster.max()) + 1
    joined, held = clusters.gathered(of_cluster, count), ties.after(of_cluster)
    means = joined.means()
    lowest = joined.lowest_bare_similarity(across_similarity)
    edges = knn_graph(means, reach.neighbours, params=reach.search, min_similarity=lowest)
    while True:
        merged = link(joined, edges, held, min_similarity=across_similarity)
        of_cluster = merged[of_cluster]
        if int(merged.max()) + 1 == count:
            return of_cluster
        changed = np.flatnonzero(np.bincount(merged) > 1)
        count = int(merged.max()) + 1
        joined, held = joined.gathered(merged, count), held.after(merged)
        means = joined.means()
        found = nearest(means[changed], means, reach.neighbours + 1, reach.search)
        lowest = joined.lowest_bare_similarity(across_similarity)
        edges = Edges.joined([edges.between(merged, means), edges_to(means, changed, found, min_similarity=lowest)])

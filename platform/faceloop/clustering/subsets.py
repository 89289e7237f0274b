"""Linkage in two steps: inside each subset, then across all on the means of what came out.

The order of "A Million-Scale Face Dataset" pipelines: photos of one album, camera or session share
light and people, so the easy merges are made there, between fewer candidates.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, SearchParams, knn_graph
from faceloop.clustering.linkage import link

Int64Array = NDArray[np.int64]
SPANS_SUBSETS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the neighbour graphs reach."""

    neighbours: int
    search: SearchParams


def shared_subset(subset: NDArray[np.int32], group: Int64Array) -> Int64Array:
    """Subset of each must-link group, (groups,) int64; SPANS_SUBSETS where its nodes differ."""
    count = int(group.max()) + 1
    lowest = np.full(count, np.iinfo(np.int64).max)
    highest = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(lowest, group, subset)
    np.maximum.at(highest, group, subset)
    return np.where(lowest == highest, lowest, SPANS_SUBSETS)


def edges_inside(clusters: Clusters, subset: Int64Array, reach: Reach, *, min_similarity: float) -> Edges:
    """Neighbour graph whose edges stay inside one subset; a cluster that spans subsets has none yet."""
    means = clusters.means()
    parts = [Edges.none()]
    order = np.argsort(subset, kind="stable")
    starts = np.flatnonzero(np.diff(subset[order]) != 0) + 1
    for members in np.split(order, starts):
        if len(members) == 1 or subset[members[0]] == SPANS_SUBSETS:
            continue
        found = knn_graph(means[members], reach.neighbours, params=reach.search, min_similarity=min_similarity)
        parts.append(Edges(rows=members[found.rows], cols=members[found.cols], similarity=found.similarity))
    return Edges.joined(parts)


def link_within_then_across(
    clusters: Clusters,
    inside: Edges,
    cannot_link: Int64Array,
    reach: Reach,
    *,
    within_similarity: float,
    across_similarity: float,
) -> Int64Array:
    """Final cluster of each given one, (c,) int64, numbered by smallest member. See `link`.

    The step across repeats with a fresh graph of the means until nothing merges: the parts of a person
    seen a thousand times are each other's neighbours only once they are few.
    """
    of_cluster = link(clusters, inside, cannot_link, min_similarity=within_similarity)
    while True:
        count = int(of_cluster.max()) + 1
        joined = clusters.gathered(of_cluster, count)
        across = knn_graph(
            joined.means(),
            reach.neighbours,
            params=reach.search,
            min_similarity=joined.lowest_bare_similarity(across_similarity),
        )
        merged = link(joined, across, of_cluster[cannot_link], min_similarity=across_similarity)
        of_cluster = merged[of_cluster]
        if int(merged.max()) + 1 == count:
            return of_cluster

"""Ties: clusters that share one label though they stay apart in linkage, and those that may never share one.

A person may look different in two places, so faces that people tied together are not thrown into one mean: each
cluster keeps its own sum (a *sub-centre*, after Deng et al. 2020, "Sub-center ArcFace"), and a *group* of clusters
has the label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Int64Array = NDArray[np.int64]
NO_PAIRS = np.empty((0, 2), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """Which clusters share a label, and which labels may never meet."""

    group_of: Int64Array  # (c,) group of each cluster, numbered 0.. by its smallest cluster
    cannot_link: Int64Array  # (p, 2) groups that may never become one; first < second, sorted, each once

    @classmethod
    def free(cls, count: int) -> "Ties":
        """Every cluster a group of its own, nothing forbidden."""
        return cls(group_of=np.arange(count, dtype=np.int64), cannot_link=NO_PAIRS)

    @classmethod
    def between(cls, must_link: Int64Array, cannot_link: Int64Array, count: int) -> "Ties":
        """Close must-links over chains and lift cannot-links to the groups; both (pairs, 2) rows of 0..count-1.

        A cannot-link pair that the must-links join gives a pair of one group with itself: see `broken`.
        """
        ones = np.ones(len(must_link), np.int8)
        graph = coo_array((ones, (must_link[:, 0], must_link[:, 1])), shape=(count, count))
        group_of = numbered_by_first(connected_components(graph, directed=False)[1])
        return cls(group_of=group_of, cannot_link=unique_pairs(group_of[cannot_link]))

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.group_of.max()) + 1 if len(self.group_of) else 0

    @property
    def broken(self) -> bool:
        """Whether a group may not be one with itself: nothing can satisfy such ties."""
        return bool((self.cannot_link[:, 0] == self.cannot_link[:, 1]).any())

    def after(self, of_cluster: Int64Array) -> "Ties":
        """The ties of the new clusters, once cluster i has gone into cluster of_cluster[i], (c,) int64 0..: who was
        merged with a member of a group belongs to it."""
        count, groups = int(of_cluster.max()) + 1 if len(of_cluster) else 0, self.count
        if groups == len(of_cluster) and len(self.cannot_link) == 0:
            return Ties.free(count)
        ones = np.ones(len(of_cluster), np.int8)
        size = count + groups
        joined = coo_array((ones, (of_cluster, count + self.group_of)), shape=(size, size))
        component = connected_components(joined, directed=False)[1]
        group_of = numbered_by_first(component[:count])
        new_group = np.empty(groups, np.int64)
        new_group[self.group_of] = group_of[of_cluster]
        return Ties(group_of=group_of, cannot_link=unique_pairs(new_group[self.cannot_link]))

    def among(self, is_kept: NDArray[np.bool_]) -> "Ties":
        """The same ties over the kept clusters only, is_kept (c,)."""
        group_of = numbered_by_first(self.group_of[is_kept])
        renumber = np.full(self.count, -1, np.int64)
        renumber[self.group_of[is_kept]] = group_of
        cannot_link = renumber[self.cannot_link]
        return Ties(group_of=group_of, cannot_link=unique_pairs(cannot_link[(cannot_link >= 0).all(axis=1)]))


def unique_pairs(pairs: Int64Array) -> Int64Array:
    """Each undirected pair once, smaller number first, sorted: (pairs, 2) int64, numbers >= 0."""
    if len(pairs) == 0:
        return NO_PAIRS
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    base = int(high.max()) + 1
    keys = np.unique(low * base + high)  # one integer a pair sorts far faster than rows
    return np.stack([keys // base, keys % base], axis=1)


def numbered_by_first(names: NDArray[np.integer]) -> Int64Array:
    """The same partition with its parts numbered 0.. in order of first appearance, (n,) int64."""
    found, first_row, dense = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.int64)
    rank[np.argsort(first_row)] = np.arange(len(found))
    return rank[dense]

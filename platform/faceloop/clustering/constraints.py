"""What people said about pairs: the same, or different. Both are hard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facestore.errors import DataError

Int64Array = NDArray[np.int64]
_SHOWN_PAIRS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Pairs of node rows, int64 arrays of shape (pairs, 2). Order and repeats do not matter."""

    must_link: Int64Array
    cannot_link: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Nodes tied by must-link, and which groups may never share a cluster."""

    of_node: Int64Array  # (n,) group of each node; groups are numbered by their smallest row
    count: int
    cannot_link: Int64Array  # (pairs, 2) group numbers, each pair once, first < second, sorted

    def among(self, is_kept: NDArray[np.bool_]) -> "Groups":
        """The same ties over the kept nodes only, is_kept (n,); the order of the groups stays."""
        names, of_node = np.unique(self.of_node[is_kept], return_inverse=True)
        is_live = np.isin(self.cannot_link, names).all(axis=1)
        cannot_link = np.searchsorted(names, self.cannot_link[is_live]).astype(np.int64)
        return Groups(of_node=of_node.astype(np.int64), count=len(names), cannot_link=cannot_link)


def tie_groups(constraints: Constraints, node_ids: Sequence[str]) -> Groups:
    """Close must-link over chains and lift cannot-link to the groups.

    Raises DataError for a row outside the nodes, and when must-links join a cannot-link pair: the
    message names the pairs by node id, because only a person can say which decision to retract.
    """
    n = len(node_ids)
    must, cannot = checked_pairs(constraints.must_link, n), checked_pairs(constraints.cannot_link, n)
    graph = coo_array((np.ones(len(must), np.int8), (must[:, 0], must[:, 1])), shape=(n, n))
    _, component = connected_components(graph, directed=False)
    of_node, count = _number_by_smallest_row(component)

    ends = of_node[cannot]
    broken = cannot[ends[:, 0] == ends[:, 1]]
    if len(broken):
        shown = "; ".join(f"{node_ids[a]} and {node_ids[b]}" for a, b in broken[:_SHOWN_PAIRS].tolist())
        more = f" and {len(broken) - _SHOWN_PAIRS} more" if len(broken) > _SHOWN_PAIRS else ""
        raise DataError(
            f"must-links join nodes that a cannot-link keeps apart: {shown}{more}; "
            "retract one of the decisions that contradict each other"
        )
    return Groups(of_node=of_node, count=count, cannot_link=unique_pairs(ends))


def unique_pairs(pairs: Int64Array) -> Int64Array:
    """Each undirected pair once, smaller number first, sorted: (pairs, 2) int64, numbers >= 0."""
    if len(pairs) == 0:
        return pairs.reshape(-1, 2)
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    base = int(high.max()) + 1
    keys = np.unique(low * base + high)  # one integer a pair sorts far faster than rows
    return np.stack([keys // base, keys % base], axis=1)


def checked_pairs(pairs: Int64Array, n: int) -> Int64Array:
    """The pairs as int64 (pairs, 2). Raises DataError for a row outside 0..n-1."""
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
        raise DataError(f"a constraint names a row outside 0..{n - 1}; map its ids to rows of these nodes")
    return pairs


def _number_by_smallest_row(component: NDArray[np.int32]) -> tuple[Int64Array, int]:
    names, first_row, dense = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first_row)] = np.arange(len(names))
    return rank[dense], len(names)

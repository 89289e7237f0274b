"""What people said about pairs: the same, or different. Both are hard."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.conflict import minimal_conflict
from faceloop.clustering.ties import Ties, unique_pairs
from facestore.errors import DataError

__all__ = ["Constraints", "checked_pairs", "tie_groups", "unique_pairs"]

Int64Array = NDArray[np.int64]
_SHOWN_PAIRS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """Pairs of node rows, int64 arrays of shape (pairs, 2). Order and repeats do not matter."""

    must_link: Int64Array
    cannot_link: Int64Array


def tie_groups(constraints: Constraints, node_ids: Sequence[str]) -> Ties:
    """Close must-link over chains and lift cannot-link to the groups.

    Raises DataError for a row outside the nodes, and when must-links join a cannot-link pair: the
    message gives the shortest chain of nodes between them, because only a person can say which decision to retract.
    """
    n = len(node_ids)
    must, cannot = checked_pairs(constraints.must_link, n), checked_pairs(constraints.cannot_link, n)
    ties = Ties.between(must, cannot, n)
    if ties.broken:
        found = minimal_conflict(must, cannot, n)
        chains = [" = ".join(node_ids[row] for row in conflict.path) for conflict in found[:_SHOWN_PAIRS]]
        shown = "; ".join(chains)
        more = f" and {len(found) - _SHOWN_PAIRS} more" if len(found) > _SHOWN_PAIRS else ""
        raise DataError(
            f"must-links join nodes at two ends that a cannot-link keeps apart: {shown}{more}; "
            "retract one of the decisions that contradict each other"
        )
    return ties


def checked_pairs(pairs: Int64Array, n: int) -> Int64Array:
    """The pairs as int64 (pairs, 2). Raises DataError for a row outside 0..n-1."""
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
        raise DataError(f"a constraint names a row outside 0..{n - 1}; map its ids to rows of these nodes")
    return pairs

"""Hubness of nodes that came later, on the scale of an earlier run (see hubness.py for what it is)."""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Neighbours, SearchParams, nearest
from faceloop.clustering.params import PartitionParams

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
_SAMPLE = 128  # earlier clusters that tell what was usual
_SPARE = 2  # neighbours beyond the cohort: the unit itself, and its own person


def neighbours_needed(params: PartitionParams) -> int:
    """How many nearest units `later_hubness` wants to see."""
    return params.hubness_skipped + params.hubness_cohort + _SPARE


def later_hubness(
    found: Neighbours, units: Clusters, node_counts: Int64Array, params: PartitionParams, search: SearchParams
) -> Float32Array:
    """Hubness of new nodes (rows,) f32, from their nearest `units` (themselves may be among them).

    `node_counts` (u,) is the nodes of each earlier unit, 0 for what is not one. A new node that is as near to an
    earlier unit as clusters of one subset must be is counted to it and has its hubness, as in a full run, where
    hubness is measured on units and not on nodes. Any other one has its own, from strangers among the earlier units.
    What similarity to strangers is usual is read off earlier lone nodes (all units, where there are none): it is the
    value that gives them the hubness they were given.
    """
    rows = len(found.index)
    if params.hubness_share == 0 or rows == 0 or not node_counts.any():
        return np.zeros(rows, np.float32)
    given = units.hubness_sums / units.weights
    usual = _usual(units, node_counts, params, search)
    is_earlier = (found.index >= 0) & (node_counts[found.index] > 0)
    similarity = np.where(is_earlier, found.similarity, -np.inf)
    best = similarity.argmax(axis=1)
    best_similarity = np.take_along_axis(similarity, best[:, None], axis=1)[:, 0]
    nearest_unit = np.take_along_axis(found.index, best[:, None], axis=1)[:, 0]
    is_own = (found.index == nearest_unit[:, None]) & (best_similarity >= params.across_similarity)[:, None]
    mean, strangers = _cohort_mean(similarity, ~is_earlier | is_own, params)
    pull = params.hubness_share * (mean - usual) * strangers / (strangers + params.hubness_prior)
    pull = np.maximum(pull, float(given[node_counts > 0].min()))
    of_own = np.where(best_similarity >= params.within_similarity, given[nearest_unit], pull)
    return of_own.astype(np.float32)


def _usual(units: Clusters, node_counts: Int64Array, params: PartitionParams, search: SearchParams) -> float:
    """The similarity to strangers at which the hubness was 0."""
    lone, every = np.flatnonzero(node_counts == 1), np.flatnonzero(node_counts > 0)
    asked = lone if len(lone) else every
    asked = asked[np.unique(np.linspace(0, len(asked) - 1, _SAMPLE).astype(np.int64))]
    means = units.means()
    found = nearest(means[asked], means, neighbours_needed(params), search)
    is_out = (found.index < 0) | (node_counts[found.index] == 0) | (found.index == asked[:, None])
    mean, strangers = _cohort_mean(found.similarity, is_out, params)
    given = (units.hubness_sums / units.weights)[asked]
    lift = given * (strangers + params.hubness_prior) / (np.maximum(strangers, 1) * params.hubness_share)
    is_telling = strangers > 0
    return float(np.median((mean - lift)[is_telling])) if is_telling.any() else 0.0


def _cohort_mean(
    similarity: Float32Array, is_out: BoolArray, params: PartitionParams
) -> tuple[Float64Array, Int64Array]:
    """Mean similarity to the strangers among neighbours (rows, k), best first, and how many: (rows,) each.

    The neighbours that are `is_out` are passed over, the nearest others skipped, and so is who is too near.
    """
    rank = np.cumsum(~is_out, axis=1) - 1
    is_in_cohort = (rank >= params.hubness_skipped) & (rank < params.hubness_skipped + params.hubness_cohort)
    is_known = ~is_out & is_in_cohort & np.isfinite(similarity) & (similarity < params.hubness_similarity)
    strangers = is_known.sum(axis=1)
    total = np.where(is_known, similarity, 0).sum(axis=1, dtype=np.float64)
    return total / np.maximum(strangers, 1), strangers

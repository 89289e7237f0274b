"""partition: nodes (tracklet templates) and constraints to clusters. The seam of this folder.

Order of work: leave out what is too poor to compare; tie must-links; average linkage inside each
subset, then across all, with similarities corrected for hubness; a second look at nodes that stayed
alone, and at crowds of poor ones; a confidence for each node.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.attach import attach_lone_nodes
from faceloop.clustering.clusters import Clusters
from faceloop.clustering.confidence import node_confidence
from faceloop.clustering.constraints import Constraints, checked_pairs, tie_groups
from faceloop.clustering.hubness import hubness_to_strangers
from faceloop.clustering.incoherent import incoherent_clusters
from faceloop.clustering.knn import Edges, SearchParams, nearest
from faceloop.clustering.linkage import link
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.subsets import Reach, edges_inside, link_within_then_across
from faceloop.clustering.ties import Ties, numbered_by_first

__all__ = ["Constraints", "Nodes", "Partition", "PartitionParams", "SearchParams", "partition"]

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
DropReason = Literal["low_quality", "incoherent"]
_HUBNESS_LIFT = 0.2  # a face that resembles nobody is helped by so much at most, both ends together
HEAVIEST_SHARE = 16  # a node counts as so many usual ones at most: one long scene must not be the whole mean
_CANDIDATES = 16  # nearest clusters that a lone node may join, or that may be a node's rival


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The outcome, one entry a node, in the order of the given rows."""

    labels: Int64Array  # (n,) cluster, numbered by its smallest node id; -1 where left out
    confidence: Float32Array  # (n,) in [0, 1], see confidence.py; 0 where left out
    drop_reasons: tuple[DropReason | None, ...]  # n
    hubness: Float32Array  # (n,) what was taken off the node's similarities; 0 where left out
    subcentres: Int64Array  # (n,) part of the cluster that linkage joined; ties hold the parts together; -1 where out


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clustered:
    labels: Int64Array
    confidence: Float32Array
    hubness: Float32Array
    subcentres: Int64Array
    is_dropped: NDArray[np.bool_]  # as incoherent; the other fields of such a node mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    of_unit: Int64Array  # (u,) cluster of each unit
    ties: Ties  # of the clusters
    near: Int64Array  # (c, k) clusters near each


def partition(*, nodes: Nodes, constraints: Constraints, params: PartitionParams) -> Partition:
    """Cluster the nodes. The outcome does not depend on the order of the rows (constraints follow them).

    A must-linked node is never left out for its quality: a person has vouched for it. A lone node
    keeps a label of its own. Raises DataError for malformed nodes and contradictory constraints.
    """
    n = len(nodes.node_ids)
    order = np.asarray(sorted(range(n), key=nodes.node_ids.__getitem__), np.int64)
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    ordered = nodes if (order == rank).all() and (np.diff(order) > 0).all() else nodes.at(order)
    by_rank = Constraints(
        must_link=rank[checked_pairs(constraints.must_link, n)],
        cannot_link=rank[checked_pairs(constraints.cannot_link, n)],
    )
    ties = tie_groups(by_rank, ordered.node_ids)
    is_tied = np.bincount(ties.group_of, minlength=1)[ties.group_of] > 1
    is_kept = (ordered.quality >= params.min_quality) | is_tied
    labels, subcentres = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    confidence, hubness = np.zeros(n, np.float32), np.zeros(n, np.float32)
    reasons: list[DropReason | None] = [None if kept else "low_quality" for kept in is_kept.tolist()]
    if is_kept.any():
        kept = ordered if is_kept.all() else ordered.at(np.flatnonzero(is_kept))
        found = _cluster(kept, ties.among(is_kept), is_tied[is_kept], params)
        stays = np.flatnonzero(is_kept)[~found.is_dropped]
        for row in np.flatnonzero(is_kept)[found.is_dropped].tolist():
            reasons[row] = "incoherent"
        labels[stays] = numbered_by_first(found.labels[~found.is_dropped])
        subcentres[stays] = numbered_by_first(found.subcentres[~found.is_dropped])
        confidence[stays] = found.confidence[~found.is_dropped]
        hubness[stays] = found.hubness[~found.is_dropped]
    return Partition(
        labels=labels[rank],
        confidence=confidence[rank],
        drop_reasons=tuple(reasons[row] for row in rank.tolist()),
        hubness=hubness[rank],
        subcentres=subcentres[rank],
    )


def _cluster(nodes: Nodes, ties: Ties, is_tied: NDArray[np.bool_], params: PartitionParams) -> _Clustered:
    """Twice through the same two steps, on units of faces that are alike beyond doubt: the first pass only finds
    out who the strangers are, the second clusters with their hubness known."""
    toll = np.float32(params.quality_toll) * np.maximum(np.float32(params.full_quality) - nodes.quality, np.float32(0))
    heaviest = np.float32(HEAVIEST_SHARE * np.median(nodes.weights))
    leaves = Clusters.of_nodes(nodes.vectors, np.minimum(nodes.weights, heaviest)).with_hubness(toll)
    reach = Reach(neighbours=params.neighbours, search=params.search)
    lowest = min(params.within_similarity - _HUBNESS_LIFT, params.hubness_similarity)
    inside = edges_inside(leaves, nodes.subset, reach, min_similarity=lowest)
    unit = link(leaves, inside, ties, min_similarity=params.micro_similarity)
    units, unit_ties = leaves.gathered(unit, int(unit.max()) + 1), ties.after(unit)
    unit_edges = inside.between(unit, units.means())

    pull = _pull(units, unit_edges, unit_ties, reach, params)
    corrected = units.with_hubness(pull + units.hubness_sums / units.weights)
    settled = _settled(corrected, unit_edges, unit_ties, np.bincount(unit), reach, params)
    is_doubtful = incoherent_clusters(settled.of_unit[unit], nodes.quality, settled.ties, is_tied)[settled.of_unit]
    is_dropped = is_doubtful[unit] & (np.bincount(unit)[unit] == 1)
    if is_doubtful.any():
        settled = _undone(settled, is_doubtful, corrected, unit_ties, params.search)
    hubness = pull[unit] + toll
    confidence = node_confidence(
        leaves.with_hubness(hubness),
        settled.of_unit[unit],
        settled.ties,
        candidates=settled.near,
        neighbours=inside,
        threshold=params.across_similarity,
        scale=params.confidence_scale,
    )
    return _Clustered(
        labels=settled.ties.group_of[settled.of_unit[unit]],
        confidence=confidence,
        hubness=hubness,
        subcentres=settled.of_unit[unit],
        is_dropped=is_dropped,
    )


def _pull(units: Clusters, edges: Edges, ties: Ties, reach: Reach, params: PartitionParams) -> Float32Array:
    """What hubness takes off each unit, (u,): a first pass, without it, finds out who the strangers are."""
    provisional = link_within_then_across(
        units,
        edges,
        ties,
        reach,
        within_similarity=params.hubness_similarity,
        across_similarity=params.hubness_similarity,
    )
    pull = params.hubness_share * hubness_to_strangers(
        units,
        provisional,
        ties.after(provisional),
        skipped=params.hubness_skipped,
        cohort=params.hubness_cohort,
        ceiling=params.hubness_similarity,
        prior=params.hubness_prior,
        search=params.search,
    )
    lifted: Float32Array = np.maximum(pull, np.float32(-_HUBNESS_LIFT / 2))
    return lifted


def _settled(
    units: Clusters, edges: Edges, ties: Ties, unit_nodes: Int64Array, reach: Reach, params: PartitionParams
) -> _Settled:
    """Linkage of units with their hubness known, then the lone ones. `unit_nodes` (u,) counts nodes."""
    final = link_within_then_across(
        units,
        edges,
        ties,
        reach,
        within_similarity=params.within_similarity,
        across_similarity=params.across_similarity,
    )
    linked, held = units.gathered(final, int(final.max()) + 1), ties.after(final)
    near = near_clusters(linked, params.search)
    node_counts = np.bincount(final, unit_nodes)
    attached = attach_lone_nodes(
        linked,
        near,
        np.bincount(held.group_of, node_counts),
        held,
        min_similarity=params.attach_similarity,
        min_margin=params.attach_margin,
    )
    of_unit = attached[final]
    return _Settled(of_unit=of_unit, ties=ties.after(of_unit), near=_candidates_after(attached, near, node_counts))


def _undone(
    settled: _Settled, is_doubtful: NDArray[np.bool_], units: Clusters, ties: Ties, search: SearchParams
) -> _Settled:
    """The units of a doubtful cluster (u,) apart again: what is alike beyond doubt is all that is left of it."""
    fresh = len(is_doubtful) + np.arange(len(is_doubtful))
    of_unit = numbered_by_first(np.where(is_doubtful, fresh, settled.of_unit))
    held = ties.after(of_unit)
    near = near_clusters(units.gathered(of_unit, len(held.group_of)), search)
    return _Settled(of_unit=of_unit, ties=held, near=near)


def near_clusters(clusters: Clusters, search: SearchParams) -> Int64Array:
    """For each cluster the clusters nearest to its mean, itself mostly among them: (c, k), -1 where there is none."""
    means = clusters.means()
    return nearest(means, means, _CANDIDATES, search).index


def _candidates_after(attached: Int64Array, near: Int64Array, node_counts: Int64Array) -> Int64Array:
    """The near clusters of each new one, (c', k), once cluster i of the (c, k) has gone into attached[i]: those of
    its largest part."""
    by_size = np.argsort(node_counts, kind="stable")
    largest = np.empty(int(attached.max()) + 1, np.int64)
    largest[attached[by_size]] = by_size  # the last one written stays
    return np.where(near[largest] >= 0, attached[near[largest]], -1)

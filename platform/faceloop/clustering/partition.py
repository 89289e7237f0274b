"""partition: nodes (tracklet templates) and constraints to clusters. The seam of this folder.

Order of work: leave out what is too poor to compare; tie must-links; average linkage inside each
subset, then across all, with similarities corrected for hubness; a second look at nodes that stayed
alone; a confidence for each node.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.attach import attach_lone_nodes
from faceloop.clustering.clusters import Clusters
from faceloop.clustering.confidence import node_confidence
from faceloop.clustering.constraints import Constraints, Groups, checked_pairs, tie_groups
from faceloop.clustering.hubness import hubness_to_strangers
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.subsets import Reach, edges_inside, link_within_then_across, shared_subset

__all__ = ["Constraints", "Nodes", "Partition", "PartitionParams", "SearchParams", "partition"]

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
DropReason = Literal["low_quality"]
_HUBNESS_LIFT = 0.2  # a face that resembles nobody is helped by so much at most, both ends together


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The outcome, one entry a node, in the order of the given rows."""

    labels: Int64Array  # (n,) cluster, numbered by its smallest node id; -1 where left out
    confidence: Float32Array  # (n,) in [0, 1], see confidence.py; 0 where left out
    drop_reasons: tuple[DropReason | None, ...]  # n


def partition(*, nodes: Nodes, constraints: Constraints, params: PartitionParams) -> Partition:
    """Cluster the nodes. The outcome does not depend on the order of the rows (constraints follow them).

    A must-linked node is never left out for its quality: a person has vouched for it. A lone node
    keeps a label of its own. Raises DataError for malformed nodes and contradictory constraints.
    """
    n = len(nodes.node_ids)
    order = np.asarray(sorted(range(n), key=nodes.node_ids.__getitem__), np.int64)
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    ordered = nodes.at(order)
    by_rank = Constraints(
        must_link=rank[checked_pairs(constraints.must_link, n)],
        cannot_link=rank[checked_pairs(constraints.cannot_link, n)],
    )
    groups = tie_groups(by_rank, ordered.node_ids)
    is_tied = np.bincount(groups.of_node, minlength=1)[groups.of_node] > 1
    is_kept = (ordered.quality >= params.min_quality) | is_tied
    labels = np.full(n, -1, np.int64)
    confidence = np.zeros(n, np.float32)
    if is_kept.any():
        kept = ordered.at(np.flatnonzero(is_kept))
        labels[is_kept], confidence[is_kept] = _cluster(kept, groups.among(is_kept), params)
    return Partition(
        labels=labels[rank],
        confidence=confidence[rank],
        drop_reasons=tuple(None if kept else "low_quality" for kept in is_kept[rank].tolist()),
    )


def _cluster(nodes: Nodes, groups: Groups, params: PartitionParams) -> tuple[Int64Array, Float32Array]:
    """Labels and confidence. Twice through the same two steps: the first pass only finds out who the
    strangers are, the second clusters with their hubness known."""
    leaves = Clusters.of_nodes(nodes.vectors, nodes.weights)
    tied = leaves.gathered(groups.of_node, groups.count)
    subset = shared_subset(nodes.subset, groups.of_node)
    reach = Reach(neighbours=params.neighbours, search=params.search)
    lowest = min(params.within_similarity - _HUBNESS_LIFT, params.hubness_similarity)
    inside = edges_inside(tied, subset, reach, min_similarity=lowest)

    provisional = link_within_then_across(
        tied,
        inside,
        groups.cannot_link,
        reach,
        within_similarity=params.hubness_similarity,
        across_similarity=params.hubness_similarity,
    )
    pull = params.hubness_share * hubness_to_strangers(
        tied,
        provisional,
        skipped=params.hubness_skipped,
        cohort=params.hubness_cohort,
        ceiling=params.hubness_similarity,
        prior=params.hubness_prior,
        search=params.search,
    )
    pull = np.maximum(pull, np.float32(-_HUBNESS_LIFT / 2))
    corrected = tied.with_hubness(pull)
    final = link_within_then_across(
        corrected,
        inside,
        groups.cannot_link,
        reach,
        within_similarity=params.within_similarity,
        across_similarity=params.across_similarity,
    )
    node_counts = np.bincount(final[groups.of_node])
    final = attach_lone_nodes(
        corrected.gathered(final, len(node_counts)),
        node_counts,
        final[groups.cannot_link],
        min_similarity=params.attach_similarity,
        min_margin=params.attach_margin,
        search=params.search,
    )[final]
    labels = final[groups.of_node]
    confidence = node_confidence(
        leaves.with_hubness(pull[groups.of_node]),
        labels,
        threshold=params.across_similarity,
        scale=params.confidence_scale,
        search=params.search,
    )
    return labels, confidence

"""partition_incremental: new nodes and new decisions into an earlier partition, for a small part of its cost.

What stands stays: an earlier cluster that is neither in doubt nor near anything new keeps its nodes and label.
Clusters in doubt are dissolved into nodes (earlier.py says which); new and dissolved nodes are linked with each
other and with the means of the clusters that stand, by the thresholds of the full run (grow.py).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.attach import attach_lone_nodes
from faceloop.clustering.carried import Carried, carry_over, drop_reasons, vectors_of
from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import Constraints, checked_pairs, tie_groups
from faceloop.clustering.earlier import Earlier, earlier_rows, id_order
from faceloop.clustering.grow import Growth, grow
from faceloop.clustering.knn import Neighbours, nearest
from faceloop.clustering.later_confidence import fresh_confidence, moved_confidence, similarity_to_rest
from faceloop.clustering.later_hubness import later_hubness, neighbours_needed
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition
from faceloop.clustering.subsets import Reach

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_FELT_GROWTH = 0.02  # less moves a mean similarity by less than a hundredth
_CANDIDATES = 16  # nearest clusters that a lone node may join, or that may be a node's rival


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """How much of the world an incremental run looked at. Clusters are counted by their subcentres."""

    new_nodes: int  # never clustered before
    dissolved_nodes: int  # of earlier clusters in doubt
    clusters_looked_at: int  # earlier clusters near enough to something new to be merged with it
    clusters_grown: int  # … that took in nodes or each other
    clusters_kept: int  # earlier clusters that have the nodes they had
    searched: int  # queries answered by exact search
    added_since_full: int  # for the next run's `Earlier`


def partition_incremental(
    *, nodes: Nodes, constraints: Constraints, params: PartitionParams, earlier: Earlier
) -> tuple[Partition, Touched]:
    """What `partition` gives, near enough (docs/incremental.md has the figures), and what was touched.

    Constraints hold without exception, as in `partition`; the outcome does not depend on the order of the rows, and
    without anything new it is the earlier one. `params` must be those of the earlier run (see `needs_full`). A node
    that the earlier run left out stays out for the same reason unless a must-link now ties it. Raises DataError
    for malformed nodes and contradictory constraints.
    """
    n = len(nodes.node_ids)
    given = Constraints(
        must_link=checked_pairs(constraints.must_link, n), cannot_link=checked_pairs(constraints.cannot_link, n)
    )
    row = earlier_rows(earlier, nodes.node_ids)
    reasons = drop_reasons(nodes, row, tie_groups(given, nodes.node_ids), earlier, params)
    order = id_order(nodes.node_ids, row, earlier.node_ids)
    search = replace(params.search, flat_rows_max=max(params.search.flat_rows_max, n))  # exact: few ask
    carried = carry_over(nodes, given, order, row, reasons, earlier, params, search)
    labels, subcentres = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    confidence, hubness = np.zeros(n, np.float32), np.zeros(n, np.float32)
    reach = Reach(neighbours=params.neighbours, search=search)
    units = carried.leaves.gathered(carried.unit, len(carried.ties.group_of))
    active = np.union1d(carried.fresh_units, carried.untied)
    means = units.means()
    found = nearest(means[active], means, max(params.neighbours + 1, neighbours_needed(params)), search)
    leaves, units = _with_new_hubness(carried, units, active, found, params, reach)
    grown = grow(units, carried.ties, active, found, reach, min_similarity=params.across_similarity)
    growth, lone = _attached(carried, grown, params, reach)
    if len(carried.rows):
        of_node = growth.of_cluster[carried.unit]
        subcentres[carried.rows] = of_node
        labels[carried.rows] = growth.ties.group_of[of_node]
        hubness[carried.rows] = leaves.hubness_sums / leaves.weights
        confidence[carried.rows] = _confidence(carried, leaves, units, growth, active, found, params, reach)
    outcome = Partition(
        labels=labels, confidence=confidence, drop_reasons=tuple(reasons), hubness=hubness, subcentres=subcentres
    )
    return outcome, _touched(carried, growth, len(active) + growth.searched + lone, earlier)


def _with_new_hubness(
    carried: Carried, units: Clusters, active: Int64Array, found: Neighbours, params: PartitionParams, reach: Reach
) -> tuple[Clusters, Clusters]:
    """Nodes and units with the hubness of the new nodes filled in; `found` is about the `active` units."""
    new = np.flatnonzero(carried.is_new)
    own_unit = carried.unit[new]  # of one node each
    place = np.searchsorted(active, own_unit)
    node_counts = np.bincount(carried.unit, minlength=len(units.weights))
    node_counts[carried.fresh_units] = 0
    of_new = Neighbours(index=found.index[place], similarity=found.similarity[place])
    short = np.maximum(np.float32(params.full_quality) - carried.quality, 0)
    toll = (params.quality_toll * short).astype(np.float32)  # part of the hubness in `partition`, not of strangers
    of_tolls = np.bincount(carried.unit, toll * carried.leaves.weights, len(units.weights)).astype(np.float32)
    bare = replace(units, hubness_sums=units.hubness_sums - of_tolls)
    value = later_hubness(of_new, bare, node_counts, params, reach.search) + toll[new]
    of_nodes, of_units = carried.leaves.hubness_sums.copy(), units.hubness_sums.copy()
    of_nodes[new] = of_units[own_unit] = value * carried.leaves.weights[new]
    return replace(carried.leaves, hubness_sums=of_nodes), replace(units, hubness_sums=of_units)


def _attached(carried: Carried, grown: Growth, params: PartitionParams, reach: Reach) -> tuple[Growth, int]:
    """A second look at fresh nodes that stayed alone, and how many they were."""
    group_nodes = np.bincount(grown.ties.group_of[grown.of_cluster[carried.unit]], minlength=1)
    of_fresh = np.unique(grown.of_cluster[carried.fresh_units])
    lone = of_fresh[group_nodes[grown.ties.group_of[of_fresh]] == 1]
    if len(lone) == 0:
        return grown, 0
    means = grown.clusters.means()
    candidates = np.full((len(means), min(_CANDIDATES, len(means))), -1, np.int64)
    candidates[lone] = nearest(means[lone], means, _CANDIDATES, reach.search).index
    attached = attach_lone_nodes(
        grown.clusters,
        candidates,
        group_nodes,
        grown.ties,
        min_similarity=params.attach_similarity,
        min_margin=params.attach_margin,
    )
    clusters = grown.clusters.gathered(attached, int(attached.max()) + 1)
    of_cluster, ties = attached[grown.of_cluster], grown.ties.after(attached)
    return replace(grown, of_cluster=of_cluster, clusters=clusters, ties=ties), len(lone)


def _confidence(
    carried: Carried,
    leaves: Clusters,
    units: Clusters,
    growth: Growth,
    active: Int64Array,
    found: Neighbours,
    params: PartitionParams,
    reach: Reach,
) -> Float32Array:
    """The earlier one where a cluster stayed as it was or nearly so, moved along where it grew, and worked out anew
    for fresh nodes and for those that were alone and have found company."""
    unit, of_node = carried.unit, growth.of_cluster[carried.unit]
    group_before, group = carried.ties.group_of[unit], growth.ties.group_of[of_node]
    was_alone = np.bincount(group_before)[group_before] == 1
    has_found_company = ~carried.is_fresh & was_alone & (np.bincount(group)[group] > 1)
    is_anew = carried.is_fresh | has_found_company
    along = np.flatnonzero(~is_anew & (growth.clusters.weights[of_node] > (1 + _FELT_GROWTH) * units.weights[unit]))
    confidence = carried.confidence.copy()
    now = similarity_to_rest(leaves, along, growth.clusters, of_node)
    shift = now - similarity_to_rest(leaves, along, units, unit)
    confidence[along] = moved_confidence(confidence[along], shift, scale=params.confidence_scale)
    fresh, joined = np.flatnonzero(carried.is_fresh), np.flatnonzero(has_found_company)
    index = found.index[np.searchsorted(active, unit[fresh])]
    near_fresh = np.where(index >= 0, growth.of_cluster[index], -1)
    near_joined = nearest(vectors_of(leaves, joined), growth.clusters.means(), _CANDIDATES, reach.search).index
    for rows, near in ((fresh, near_fresh), (joined, near_joined)):
        confidence[rows] = fresh_confidence(
            leaves,
            rows,
            of_node,
            growth.clusters,
            growth.ties,
            near,
            threshold=params.across_similarity,
            scale=params.confidence_scale,
        )
    return confidence


def _touched(carried: Carried, growth: Growth, searched: int, earlier: Earlier) -> Touched:
    is_old = np.ones(len(growth.of_cluster), np.bool_)
    is_old[carried.fresh_units] = False
    has_grown = is_old & (np.bincount(growth.of_cluster, minlength=1)[growth.of_cluster] > 1)
    fresh, new = int(carried.is_fresh.sum()), int(carried.is_new.sum())
    return Touched(
        new_nodes=new,
        dissolved_nodes=fresh - new,
        clusters_looked_at=int((growth.is_looked_at & is_old).sum()),
        clusters_grown=int(has_grown.sum()),
        clusters_kept=int((is_old & ~has_grown).sum()),
        searched=searched,
        added_since_full=earlier.added_since_full + fresh,
    )

"""What is carried over from an earlier run, and what is fresh: the start of an incremental one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.earlier import Earlier, entries, shaken_units
from faceloop.clustering.knn import SearchParams, nearest, row_dots
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import HEAVIEST_SHARE, DropReason
from faceloop.clustering.ties import Ties, numbered_by_first

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The k nodes that take part, in order of their ids."""

    rows: Int64Array  # (k,) row of each in the given nodes
    leaves: Clusters  # (k,) the nodes as clusters of one, with their earlier hubness, 0 for new ones
    quality: Float32Array  # (k,)
    confidence: Float32Array  # (k,) of the earlier run, 0 for new ones
    unit: Int64Array  # (k,) its earlier subcentre where that stands, else a number of its own; numbered by first
    is_fresh: BoolArray  # (k,) new, or of a cluster that was dissolved
    is_new: BoolArray  # (k,) not clustered before
    untied: Int64Array  # units that may meet others now that a must-link was taken back
    ties: Ties  # of the units

    @property
    def fresh_units(self) -> Int64Array:
        """Units of the fresh nodes, one each, sorted."""
        return np.unique(self.unit[self.is_fresh])


def carry_over(
    nodes: Nodes,
    given: Constraints,
    order: Int64Array,
    earlier_row: Int64Array,
    reasons: list[DropReason | None],
    earlier: Earlier,
    params: PartitionParams,
    search: SearchParams,
) -> Carried:
    """Sort nodes into those that stand as they were and fresh ones. Everything but `order`, the rows by id (n,),
    is in the order of the given nodes; `reasons` tells who is left out."""
    is_kept = np.ones(len(reasons), np.bool_)
    is_kept[[row for row, reason in enumerate(reasons) if reason is not None]] = False
    shaken = shaken_units(earlier, earlier_row, given, is_kept)
    rows = order[is_kept[order]]
    before = earlier_row[rows]
    unit = entries(earlier.subcentres, before, np.int64(-1))
    is_new = unit < 0
    is_fresh = is_new | entries(shaken.is_dissolved, unit, np.bool_(False))
    confidence = entries(earlier.confidence, before, np.float32(0))
    weights = nodes.weights[rows]
    heaviest = np.float32(HEAVIEST_SHARE * np.median(weights)) if len(rows) else np.float32(1)  # as `partition` does
    leaves = Clusters.of_nodes(nodes.vectors[rows], np.minimum(weights, heaviest))
    is_fresh |= _set_free(leaves, unit, is_fresh, is_new, confidence, params, search)
    is_untied = ~is_fresh & entries(shaken.is_untied, unit, np.bool_(False))
    unit = numbered_by_first(np.where(is_fresh, len(shaken.is_dissolved) + np.arange(len(rows)), unit))
    place = np.full(len(is_kept), -1, np.int64)
    place[rows] = unit
    cannot = place[given.cannot_link]
    return Carried(
        rows=rows,
        leaves=leaves.with_hubness(entries(earlier.hubness, before, np.float32(0))),
        quality=nodes.quality[rows],
        confidence=confidence,
        unit=unit,
        is_fresh=is_fresh,
        is_new=is_new,
        untied=np.unique(unit[is_untied]),
        ties=Ties.between(place[given.must_link], cannot[(cannot >= 0).all(axis=1)], int(unit.max(initial=-1)) + 1),
    )


def _set_free(
    leaves: Clusters,
    unit: Int64Array,
    is_fresh: BoolArray,
    is_new: BoolArray,
    confidence: Float32Array,
    params: PartitionParams,
    search: SearchParams,
) -> BoolArray:
    """Nodes whose own person may have come, or may be known well enough, only now: (k,) bool.

    Their cluster holds them loosely (a confidence below one half, in company); a new node is as similar to them as
    clusters must be to merge; and with the standing cluster that this one is going to join, if any, it is nearer to
    them than the rest of their cluster is. `unit` (k,) is the earlier subcentre of each node, -1 for a new one.
    """
    is_free = np.zeros(len(unit), np.bool_)
    stands, new = np.flatnonzero(~is_fresh), np.flatnonzero(is_new)
    loose = stands[confidence[stands] < 0.5]
    if len(loose) == 0 or len(new) == 0:
        return is_free
    beside = nearest(vectors_of(leaves, loose), vectors_of(leaves, new), 1, search)
    is_like = beside.similarity[:, 0] >= params.across_similarity
    loose, host = loose[is_like], new[beside.index[is_like, 0]]
    if len(loose) == 0:
        return is_free
    each = np.arange(len(loose))
    of_loose, of_hosts = vectors_of(leaves, loose), vectors_of(leaves, host)
    names, place = np.unique(unit[stands], return_inverse=True)
    of_node = np.full(len(unit), len(names), np.int64)  # what does not stand goes to the last one
    of_node[stands] = place
    standing = leaves.gathered(of_node, len(names) + 1)
    hosts, of_host = np.unique(host, return_inverse=True)
    home_of = nearest(vectors_of(leaves, hosts), standing.means()[:-1], 1, search)
    home, own = home_of.index[of_host, 0], of_node[loose]
    rest = np.maximum(standing.weights[own] - leaves.weights[loose], 1e-6)
    to_host = row_dots(of_loose, each, of_hosts, each)
    host_to_rest = row_dots(of_hosts, each, standing.vector_sums, own) - to_host * leaves.weights[loose]
    # Where the new node is drawn to this very cluster, it may be by the loose node alone: then it has no home there.
    at_home = np.where(home == own, host_to_rest / rest, home_of.similarity[of_host, 0])
    weight = np.where(at_home >= params.across_similarity, standing.weights[home], 0)
    to_home = row_dots(of_loose, each, standing.vector_sums, home)
    joined = (to_host * leaves.weights[host] + np.where(weight > 0, to_home, 0)) / (leaves.weights[host] + weight)
    to_rest = (row_dots(of_loose, each, standing.vector_sums, own) - leaves.weights[loose]) / rest
    has_company = np.bincount(place)[own] > 1
    is_better = has_company & (joined > to_rest) & ~((weight > 0) & (home == own))
    is_free[loose[is_better]] = True
    return is_free


def vectors_of(leaves: Clusters, rows: Int64Array) -> Float32Array:
    """Unit vectors of these leaves, (rows, d)."""
    return (leaves.vector_sums[rows] / leaves.weights[rows, None]).astype(np.float32)


def drop_reasons(
    nodes: Nodes, earlier_row: Int64Array, ties: Ties, earlier: Earlier, params: PartitionParams
) -> list[DropReason | None]:
    """Why each node is left out, or None: too poor, or left out by the earlier run. Not if a must-link ties it."""
    is_tied = np.bincount(ties.group_of, minlength=1)[ties.group_of] > 1
    is_poor = (nodes.quality < params.min_quality) & ~is_tied
    was_out = (earlier_row >= 0) & ~is_tied & (entries(earlier.labels, earlier_row, np.int64(0)) < 0)
    reasons: list[DropReason | None] = [None] * len(earlier_row)
    for row in np.flatnonzero(is_poor).tolist():
        reasons[row] = "low_quality"
    for row in np.flatnonzero(was_out & ~is_poor).tolist():
        reasons[row] = earlier.drop_reasons[earlier_row[row]]
    return reasons

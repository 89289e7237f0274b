"""Nodes that do not belong to their cluster, by bands of the angle to its centre.

The recipe of cleaned training sets (DeepGlint's; Deng et al. 2020, "Sub-center ArcFace": drop what lies
beyond an angle from the nearest sub-centre), with bands relative to each cluster's own spread. No label
is changed here: a person answers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import tie_groups
from faceloop.clustering.grouping import best_rows, group_medians
from faceloop.clustering.halves import halve
from faceloop.clustering.knn import SearchParams, nearest
from faceloop.clustering.proposals import ClusterProposal, ProposalReason
from facestore.errors import ConfigError

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
_RIVALS_LOOKED_AT = 4
CORE, EDGE, OUTLIER, NO_BAND = np.int8(0), np.int8(1), np.int8(2), np.int8(-1)
_ROBUST_DEVIATIONS = 1.4826  # a median absolute deviation in standard deviations of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningParams:
    """Raises ConfigError for a value outside its range."""

    edge_deviations: float  # beyond its cluster's usual angle by this many robust deviations: edge, > 0
    outlier_deviations: float  # and by this many: an outlier, if it also falls short of …, >= edge_deviations
    min_similarity: float  # … this mean similarity to the rest of its cluster, less hubness, in [-1, 1]
    rival_margin: float  # nearer to another cluster by this, in [0, 2]
    min_centre_nodes: int  # nodes that make a sub-centre; fewer are outliers of the other one, >= 2
    prior_nodes: int  # nodes of usual spread that a cluster's own spread is averaged with, >= 1
    limit: int  # proposals at most, >= 0
    search: SearchParams

    def __post_init__(self) -> None:
        is_ordered = 0 < self.edge_deviations <= self.outlier_deviations
        if not is_ordered or not -1 <= self.min_similarity <= 1 or not 0 <= self.rival_margin <= 2:
            raise ConfigError("a band of cleaning is out of range or order; set 0 < edge <= outlier deviations")
        if self.min_centre_nodes < 2 or self.prior_nodes < 1 or self.limit < 0:
            raise ConfigError("min_centre_nodes is at least 2, prior_nodes at least 1, the limit at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBands:
    """One entry a node, in the order of the given rows."""

    angle_deg: Float32Array  # (n,) to the rest of the nearest sub-centre of its cluster; nan without company
    band: NDArray[np.int8]  # (n,) CORE, EDGE, OUTLIER; NO_BAND without company
    own: Float32Array  # (n,) mean similarity to the rest of that sub-centre, less hubness; nan without company
    rival: Float32Array  # (n,) similarity to the nearest other cluster, less hubness; -1 where not looked for
    rival_label: Int64Array  # (n,) that cluster; -1 where not looked for


def node_bands(given: Clustered, params: CleaningParams) -> NodeBands:
    """Where each node stands in its cluster. Linear in nodes, and a search among the means of clusters.

    Sub-centres are the two halves of a cluster (halves.py) where both have `min_centre_nodes` nodes. Rivals are
    looked for outside of the core and below `min_similarity` only: the rest is not in doubt.
    """
    clustered, row_of = given.in_id_order()
    bands = _bands_in_order(clustered, params)
    back = np.empty(len(row_of), np.int64)
    back[row_of] = np.arange(len(row_of))
    return NodeBands(
        angle_deg=bands.angle_deg[back],
        band=bands.band[back],
        own=bands.own[back],
        rival=bands.rival[back],
        rival_label=bands.rival_label[back],
    )


def outliers(given: Clustered, is_vouched: BoolArray, params: CleaningParams) -> list[ClusterProposal]:
    """Nodes to show beside the best core shot of their cluster, strongest first.

    `nearer_to_other`: another cluster is nearer by `rival_margin`. `far_from_core`: in the outlier band. Never a
    node that `is_vouched` (n,) for by a person, nor one that a must-link ties. Score: the similarity that it
    lacks, to the rival or to `min_similarity`, the larger.
    """
    bands = node_bands(given, params)
    tie = tie_groups(given.constraints, given.nodes.node_ids).group_of
    is_free = ~is_vouched & (np.bincount(tie, minlength=1)[tie] == 1) & (bands.band != NO_BAND)
    is_nearer = is_free & (bands.rival > bands.own + params.rival_margin)
    is_far = is_free & (bands.band == OUTLIER)
    rows = np.flatnonzero(is_nearer | is_far)
    score = np.maximum(bands.rival[rows], params.min_similarity) - bands.own[rows]
    shots = _shots_beside(given, bands.band == CORE, rows)
    names = given.nodes.node_ids
    ranked = sorted(range(len(rows)), key=lambda place: (-float(score[place]), names[rows[place]]))
    proposals = []
    for place in ranked[: params.limit]:
        row = int(rows[place])
        label = int(given.labels[row])
        reason: ProposalReason = "nearer_to_other" if is_nearer[row] else "far_from_core"
        proposals.append(
            ClusterProposal(
                kind="outlier",
                first_label=label,
                second_label=label,
                first_row=row,
                second_row=int(shots[place]),
                score=float(score[place]),
                faces=int(given.faces[row]),
                reason=reason,
            )
        )
    return proposals


def _shots_beside(given: Clustered, is_core: BoolArray, rows: Int64Array) -> Int64Array:
    """Best shot of the cluster of each of `rows` to show beside it, (rows,): of the core and not itself in doubt
    if possible, else the best other one."""
    quality, labels, count = given.nodes.quality, given.labels, given.count
    is_sure = is_core.copy()
    is_sure[rows] = False
    sure = best_rows(quality, np.where(is_sure, labels, -1), count)
    best = best_rows(quality, labels, count)
    runner_up_of = labels.copy()
    runner_up_of[best[best >= 0]] = -1
    runner_up = best_rows(quality, runner_up_of, count)
    of_row = labels[rows]
    other = np.where(best[of_row] == rows, runner_up[of_row], best[of_row])
    return np.where(sure[of_row] >= 0, sure[of_row], other)


def _bands_in_order(clustered: Clustered, params: CleaningParams) -> NodeBands:
    n, labels, count = len(clustered.labels), clustered.labels, clustered.count
    angle, own = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    band, rival = np.full(n, NO_BAND), np.full(n, -1, np.float32)
    rival_label = np.full(n, -1, np.int64)
    if count:
        leaves = clustered.leaves()
        tie = tie_groups(clustered.constraints, clustered.nodes.node_ids).group_of
        halves = halve(leaves, labels, count, tie)
        is_parted = halves.nodes.reshape(-1, 2).min(axis=1) >= params.min_centre_nodes
        rows = np.flatnonzero(np.bincount(labels[labels >= 0], minlength=count)[labels] * (labels >= 0) > 1)
        centre = np.where(is_parted[labels], halves.of_node, 2 * labels)[rows]
        angle[rows], own[rows] = _to_rest(leaves, rows, centre, 2 * count)
        deviation = _angle_deviations(angle[rows], labels[rows], count, params.prior_nodes)
        is_outlier = (deviation > params.outlier_deviations) & (own[rows] < params.min_similarity)
        band[rows] = np.where(is_outlier, OUTLIER, np.where(deviation > params.edge_deviations, EDGE, CORE))
        doubted = rows[(band[rows] != CORE) | (own[rows] < params.min_similarity)]
        rival[doubted], rival_label[doubted] = _best_rival(clustered, leaves, doubted, params.search)
    return NodeBands(angle_deg=angle, band=band, own=own, rival=rival, rival_label=rival_label)


def _to_rest(leaves: Clusters, rows: Int64Array, centre: Int64Array, count: int) -> tuple[Float32Array, Float32Array]:
    """Angle (degrees) and mean similarity less hubness of each of `rows` to the others of its `centre` (rows,)."""
    members = Clusters(
        vector_sums=leaves.vector_sums[rows], weights=leaves.weights[rows], hubness_sums=leaves.hubness_sums[rows]
    )
    sums = members.gathered(centre, count)
    rest = sums.vector_sums[centre] - members.vector_sums
    rest_weights = sums.weights[centre] - members.weights
    hubness = members.hubness_sums / members.weights
    rest_hubness = (sums.hubness_sums[centre] - members.hubness_sums) / rest_weights
    along = np.einsum("nd,nd->n", members.vector_sums, rest) / members.weights
    length = np.maximum(np.linalg.norm(rest, axis=1), 1e-12)
    angle = np.degrees(np.arccos(np.clip(along / length, -1, 1)))
    return angle.astype(np.float32), (along / rest_weights - hubness - rest_hubness).astype(np.float32)


def _angle_deviations(angle: Float32Array, labels: Int64Array, count: int, prior_nodes: int) -> Float64Array:
    """Each angle in robust deviations above its cluster's median; a small cluster's spread leans on the usual one."""
    residual = angle - group_medians(angle, labels, count)[labels]
    spread = _ROBUST_DEVIATIONS * group_medians(np.abs(residual), labels, count)
    usual = _ROBUST_DEVIATIONS * float(np.median(np.abs(residual))) if len(residual) else 0.0
    sizes = np.bincount(labels, minlength=count)
    pooled = np.sqrt((sizes * spread**2 + prior_nodes * usual**2) / (sizes + prior_nodes))
    deviations: Float64Array = residual / np.maximum(pooled[labels], 1e-6)
    return deviations


def _best_rival(
    clustered: Clustered, leaves: Clusters, rows: Int64Array, search: SearchParams
) -> tuple[Float32Array, Int64Array]:
    """Similarity, less hubness, of each of `rows` to the nearest cluster that is not its own, and that cluster."""
    clusters = clustered.clusters()
    exists = np.flatnonzero(np.bincount(clustered.labels[clustered.labels >= 0], minlength=clustered.count))
    found = nearest(leaves.means()[rows], clusters.means()[exists], _RIVALS_LOOKED_AT, search)
    hubness = clusters.hubness_sums / clusters.weights
    label = exists[found.index]
    own_hubness = (leaves.hubness_sums / leaves.weights)[rows]
    similarity = found.similarity - hubness[label] - own_hubness[:, None]
    is_other = (found.index >= 0) & (label != clustered.labels[rows][:, None])
    similarity = np.where(is_other, similarity, np.float32(-1))
    place = similarity.argmax(axis=1)
    best = np.take_along_axis(similarity, place[:, None], axis=1)[:, 0]
    best_label = np.take_along_axis(label, place[:, None], axis=1)[:, 0]
    return best.astype(np.float32), np.where(best > -1, best_label, -1)

"""What a person should look at: clusters that may be one person, and clusters that may be two.

Nothing is changed here. Every value is a mean similarity less hubness, so one calibration serves all.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import tie_groups
from faceloop.clustering.grouping import best_rows
from faceloop.clustering.halves import halve
from faceloop.clustering.knn import SearchParams, nearest
from faceloop.clustering.ties import unique_pairs
from facestore.errors import ConfigError
from facestore.records import ProposalKind

BoolArray = NDArray[np.bool_]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
ProposalReason = Literal["similar", "two_centres", "far_from_core", "nearer_to_other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterProposal:
    """Something to show, with rows of the given nodes as its best shots."""

    kind: ProposalKind
    first_label: int
    second_label: int  # the same as the first for a split or an outlier
    first_row: int  # outlier: the node itself
    second_row: int
    score: float  # how strongly proposed within its kind, larger is stronger
    faces: int  # that the answer would move: of the smaller side
    reason: ProposalReason


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalParams:
    """Raises ConfigError for a value outside its range."""

    merge_similarity: float  # clusters at least so similar are worth asking about, in [-1, 1]
    split_similarity: float  # halves less similar than this should not be one cluster, in [-1, 1]
    min_half_nodes: int  # a half of fewer nodes is a matter of outliers, >= 1
    neighbours: int  # clusters looked at around each, >= 1
    limit: int  # proposals of one kind at most, >= 0
    search: SearchParams

    def __post_init__(self) -> None:
        is_cosine = all(-1 <= value <= 1 for value in (self.merge_similarity, self.split_similarity))
        if not is_cosine:
            raise ConfigError("similarities of proposals lie in [-1, 1]; correct the params")
        if self.min_half_nodes < 1 or self.neighbours < 1 or self.limit < 0:
            raise ConfigError("min_half_nodes and neighbours are at least 1, the limit at least 0; correct the params")


def propose_merges(given: Clustered, params: ProposalParams) -> list[ClusterProposal]:
    """Pairs of clusters at least `merge_similarity` near, most similar first, shown by their best shots.

    Left out: pairs that a cannot-link keeps apart. Score: the similarity. Linear in nodes; neighbours are
    searched among the means of clusters only.
    """
    clustered, row_of = given.in_id_order()
    labels, count = clustered.labels, clustered.count
    clusters = clustered.clusters()
    exists = np.flatnonzero(np.bincount(labels[labels >= 0], minlength=count))
    means = clusters.means()[exists]
    found = nearest(means, means, params.neighbours + 1, params.search)
    source = np.repeat(np.arange(len(exists)), found.index.shape[1])
    target = found.index.ravel()
    is_pair = (target >= 0) & (target != source)
    pairs = unique_pairs(np.stack([exists[source[is_pair]], exists[target[is_pair]]], axis=1))
    pairs = pairs[~_kept_apart(pairs, clustered)]
    score = clusters.similarity(pairs[:, 0], pairs[:, 1])
    faces = np.bincount(labels[labels >= 0], clustered.faces[labels >= 0], count).astype(np.int64)
    shots = row_of[best_rows(clustered.nodes.quality, labels, count)]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -score))
    return [
        ClusterProposal(
            kind="merge",
            first_label=first,
            second_label=second,
            first_row=int(shots[first]),
            second_row=int(shots[second]),
            score=float(score[place]),
            faces=int(min(faces[first], faces[second])),
            reason="similar",
        )
        for place in order[score[order] >= params.merge_similarity][: params.limit].tolist()
        for first, second in [pairs[place].tolist()]
    ]


def propose_splits(given: Clustered, params: ProposalParams) -> list[ClusterProposal]:
    """Clusters that look like two people, strongest first, with the best shot of each half (the larger first).

    The halves (halves.py) are less similar than `split_similarity`. Nodes that must-link ties stay in one half.
    Score: coherence less similarity of the halves.
    """
    clustered, row_of = given.in_id_order()
    count = clustered.count
    if count == 0:
        return []
    tie = tie_groups(clustered.constraints, clustered.nodes.node_ids).group_of
    halves = halve(clustered.leaves(), clustered.labels, count, tie)
    nodes = halves.nodes.reshape(-1, 2)
    has_two = (nodes.min(axis=1) >= params.min_half_nodes) & (halves.between < params.split_similarity)
    shots = row_of[best_rows(clustered.nodes.quality, halves.of_node, 2 * count)].reshape(-1, 2)
    is_in = halves.of_node >= 0
    faces = np.bincount(halves.of_node[is_in], clustered.faces[is_in], 2 * count).astype(np.int64).reshape(-1, 2)
    suspects = np.flatnonzero(has_two)
    score = halves.coherence[suspects] - halves.between[suspects]
    proposals = []
    for place in np.lexsort((suspects, -score))[: params.limit].tolist():
        label = int(suspects[place])
        larger = int(faces[label].argmax())
        proposals.append(
            ClusterProposal(
                kind="split",
                first_label=label,
                second_label=label,
                first_row=int(shots[label, larger]),
                second_row=int(shots[label, 1 - larger]),
                score=float(score[place]),
                faces=int(faces[label].min()),
                reason="two_centres",
            )
        )
    return proposals


def _kept_apart(pairs: Int64Array, clustered: Clustered) -> BoolArray:
    """Which pairs of labels hold the two ends of a cannot-link, (pairs,) bool."""
    ends = clustered.labels[clustered.constraints.cannot_link.reshape(-1, 2)]
    ends = unique_pairs(ends[(ends >= 0).all(axis=1)])
    base = clustered.count + 1
    apart: BoolArray = np.isin(pairs[:, 0] * base + pairs[:, 1], ends[:, 0] * base + ends[:, 1])
    return apart

"""What could be asked about a partition: pairs of neighbouring clusters, halves of a cluster, members that fit badly.

Nothing that is known is asked: not a pair that answers or one picture keep apart, not a member whom an answer ties
to its cluster. Cost: linear in nodes, and one search among the means of clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import tie_groups, unique_pairs
from faceloop.clustering.halves import halve
from faceloop.clustering.knn import SearchParams, nearest, row_dots
from faceloop.questions.beliefs import TopicKind
from faceloop.questions.chance import evidence

Float64Array = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]
_SHOTS = 3
_SMALLEST_SPLIT = 4  # nodes; in fewer, every half is a matter of outliers
CONFIDENCE_CLIP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateParams:
    """Where to look. Cosines belong to the embedding contract."""

    threshold: float  # mean similarity, less hubness, at which clusters merge, in [-1, 1]
    confidence_scale: float  # cosine margin that is one unit of a confidence's log-odds, > 0
    neighbours: int  # clusters looked at around each, >= 1
    search: SearchParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Things to ask, all of one kind. Row i of each array belongs to candidate i; shots are rows of nodes."""

    kind: TopicKind
    first_shots: Int64Array  # (m, 3) best first, -1 where there are fewer
    second_shots: Int64Array  # (m, 3)
    first_label: Int64Array  # (m,)
    second_label: Int64Array  # (m,) the same as the first but for a merge
    similarity: Float64Array  # (m,) mean cosine of the two sides, less hubness
    margin: Float64Array  # (m,) cosine that the machine is above (same) or below its threshold
    evidence: Float64Array  # (m, EVIDENCE) what P(same) is judged from, see chance.py
    pairs: Float64Array  # (m,) pairs of faces that the answer is about

    def __len__(self) -> int:
        return len(self.margin)

    def at(self, is_kept: BoolArray) -> "Candidates":
        """Those of `is_kept` (m,) only."""
        return Candidates(
            kind=self.kind,
            first_shots=self.first_shots[is_kept],
            second_shots=self.second_shots[is_kept],
            first_label=self.first_label[is_kept],
            second_label=self.second_label[is_kept],
            similarity=self.similarity[is_kept],
            margin=self.margin[is_kept],
            evidence=self.evidence[is_kept],
            pairs=self.pairs[is_kept],
        )


def find_candidates(given: Clustered, confidence: Float32Array, params: CandidateParams) -> tuple[Candidates, ...]:
    """Merges, splits and outliers that are worth a thought, in no order. `confidence` (n,) is the partition's."""
    if given.count == 0:
        return ()
    clusters = given.clusters()
    is_in = given.labels >= 0
    faces = np.bincount(given.labels[is_in], given.faces[is_in], given.count).astype(np.float64)
    tie = tie_groups(given.constraints, given.nodes.node_ids).group_of
    shots = best_shots(given, given.labels, given.count)
    nodes = np.bincount(given.labels[is_in], minlength=given.count)
    return (
        _merges(given, clusters, faces, nodes, shots, params),
        _splits(given, tie, params),
        _outliers(given, faces, tie, shots, confidence, params),
    )


def best_shots(given: Clustered, group: Int64Array, count: int, size: int = _SHOTS) -> Int64Array:
    """The nodes that show each group best, (count, size) rows, -1 where there are fewer.

    `group` (n,) in 0..count-1 or -1. Best is quality times nearness to the mean: the shot has to be legible, and
    to stand for its group, for an answer about it moves the whole.
    """
    is_in = np.flatnonzero(group >= 0)
    leaves = Clusters.of_nodes(given.nodes.vectors[is_in], given.nodes.weights[is_in])
    means = leaves.vector_sums if count == 0 else leaves.gathered(group[is_in], count).vector_sums
    length = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    nearness = row_dots(given.nodes.vectors, is_in, means, group[is_in]) / length[group[is_in]]
    merit = np.clip(nearness, 0, None) * (0.5 + 0.5 * given.nodes.quality[is_in])
    ids = np.asarray(given.nodes.node_ids)[is_in]
    order = np.lexsort((ids, -np.round(merit, 5), group[is_in]))
    in_group = group[is_in][order]
    place = np.arange(len(order)) - np.searchsorted(in_group, in_group)
    shots = np.full((count, size), -1, np.int64)
    is_shown = place < size
    shots[in_group[is_shown], place[is_shown]] = is_in[order[is_shown]]
    return shots


def kept_apart(pairs: Int64Array, given: Clustered) -> BoolArray:
    """Which pairs of labels (m, 2), first < second, hold the two ends of a cannot-link."""
    ends = given.labels[given.constraints.cannot_link.reshape(-1, 2)]
    ends = unique_pairs(ends[(ends >= 0).all(axis=1)])
    base = given.count + 1
    apart: BoolArray = np.isin(pairs[:, 0] * base + pairs[:, 1], ends[:, 0] * base + ends[:, 1])
    return apart


def _merges(
    given: Clustered,
    clusters: Clusters,
    faces: Float64Array,
    nodes: Int64Array,
    shots: Int64Array,
    params: CandidateParams,
) -> Candidates:
    exists = np.flatnonzero(faces > 0)
    means = clusters.means()[exists]
    found = nearest(means, means, params.neighbours + 1, params.search)
    source = np.repeat(np.arange(len(exists)), found.index.shape[1])
    target = found.index.ravel()
    is_pair = (target >= 0) & (target != source)
    pairs = unique_pairs(np.stack([exists[source[is_pair]], exists[target[is_pair]]], axis=1))
    similarity = clusters.similarity(pairs[:, 0], pairs[:, 1]).astype(np.float64)
    # Known strangers count as rivals: who resembles one of them as much is in a crowd.
    gap = similarity - _best_rival(pairs, similarity, given.count)
    is_open = ~kept_apart(pairs, given)
    pairs, similarity, gap = pairs[is_open], similarity[is_open], gap[is_open]
    first, second = pairs[:, 0], pairs[:, 1]
    return Candidates(
        kind="merge",
        first_shots=shots[first],
        second_shots=shots[second],
        first_label=first,
        second_label=second,
        similarity=similarity,
        margin=similarity - params.threshold,
        evidence=evidence(
            similarity - params.threshold,
            params.confidence_scale,
            smaller=np.minimum(nodes[first], nodes[second]),
            gap=gap,
        ),
        pairs=faces[first] * faces[second],
    )


def _best_rival(pairs: Int64Array, similarity: Float64Array, count: int) -> Float64Array:
    """For each pair of labels (m, 2), the most similar third to either of the two, (m,); -1 without one."""
    label, value = pairs.T.ravel(), np.tile(similarity, 2)
    order = np.lexsort((-value, label))
    place = np.arange(len(order)) - np.searchsorted(label[order], label[order])
    best, second = np.full(count, -1.0), np.full(count, -1.0)
    owner = np.full(count, -1)
    is_best, is_second = order[place == 0], order[place == 1]
    best[label[is_best]], owner[label[is_best]] = value[is_best], is_best % len(pairs)
    second[label[is_second]] = value[is_second]
    is_own = owner[pairs] == np.arange(len(pairs))[:, None]
    return np.asarray(np.where(is_own, second[pairs], best[pairs]).max(axis=1), np.float64)


def _splits(given: Clustered, tie: Int64Array, params: CandidateParams) -> Candidates:
    halves = halve(given.leaves(), given.labels, given.count, tie)
    nodes = halves.nodes.reshape(-1, 2)
    can_part = (nodes.sum(axis=1) >= _SMALLEST_SPLIT) & (nodes.min(axis=1) > 1) & np.isfinite(halves.between)
    label = np.flatnonzero(can_part)
    is_in = halves.of_node >= 0
    faces = np.bincount(halves.of_node[is_in], given.faces[is_in], 2 * given.count).astype(np.float64)
    shots = best_shots(given, halves.of_node, 2 * given.count)
    similarity = halves.between[label]
    return Candidates(
        kind="split",
        first_shots=shots[2 * label],
        second_shots=shots[2 * label + 1],
        first_label=label,
        second_label=label,
        similarity=similarity,
        margin=similarity - params.threshold,
        evidence=evidence(similarity - params.threshold, params.confidence_scale),
        pairs=faces[2 * label] * faces[2 * label + 1],
    )


def _outliers(
    given: Clustered,
    faces: Float64Array,
    tie: Int64Array,
    shots: Int64Array,
    confidence: Float32Array,
    params: CandidateParams,
) -> Candidates:
    is_free = np.bincount(tie, minlength=1)[tie] == 1
    nodes_in = np.bincount(given.labels[given.labels >= 0], minlength=given.count)
    row = np.flatnonzero(is_free & (given.labels >= 0))
    row = row[nodes_in[given.labels[row]] > 1]
    label = given.labels[row]
    # Not beside itself: where the node is among its cluster's best shots, the next one takes its place.
    beside = shots[label]
    beside = np.take_along_axis(beside, np.argsort((beside == row[:, None]) | (beside < 0), axis=1, kind="stable"), 1)
    beside[(beside == row[:, None])] = -1
    odds = logit(np.clip(confidence[row].astype(np.float64), CONFIDENCE_CLIP, 1 - CONFIDENCE_CLIP))
    margin = odds * params.confidence_scale
    alone = np.full((len(row), _SHOTS), -1, np.int64)
    alone[:, 0] = row
    return Candidates(
        kind="outlier",
        first_shots=alone,
        second_shots=beside,
        first_label=label,
        second_label=label,
        similarity=margin + params.threshold,
        margin=margin,
        evidence=evidence(margin, params.confidence_scale),
        pairs=given.faces[row] * (faces[label] - given.faces[row]),
    )

"""Confidence of labels after an incremental run: worked out anew where a node is new, moved along elsewhere."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import row_dots
from faceloop.clustering.ties import Ties

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
_SURE = 1e-6  # a confidence is read as a margin no nearer to 0 and 1 than this


def moved_confidence(confidence: Float32Array, shift: Float64Array, *, scale: float) -> Float32Array:
    """Confidence (rows,) of nodes whose mean similarity to the rest of their cluster moved by `shift` (rows,).

    The best rival is taken to be the one of before.
    """
    margin = logit(np.clip(confidence.astype(np.float64), _SURE, 1 - _SURE)) + shift / scale
    moved: Float32Array = expit(margin).astype(np.float32)
    return moved


def fresh_confidence(
    leaves: Clusters,
    rows: Int64Array,
    of_node: Int64Array,
    clusters: Clusters,
    ties: Ties,
    candidates: Int64Array,
    *,
    threshold: float,
    scale: float,
) -> Float32Array:
    """Confidence of `rows` of the nodes as `node_confidence` defines it, (rows,) f32.

    `of_node` (n,) is the cluster of each node, and the labels are the groups of `ties`. Rivals are looked for among
    `candidates` (rows, k), the clusters near each, -1 where there is none.
    """
    group = ties.group_of[of_node]
    asked = np.repeat(rows, candidates.shape[1])
    near = np.where(candidates.ravel() >= 0, candidates.ravel(), of_node[asked])
    bare = row_dots(leaves.vector_sums, asked, clusters.vector_sums, near)
    hubness = leaves.hubness_sums / leaves.weights
    similarity = bare / (leaves.weights[asked] * clusters.weights[near])
    similarity += -hubness[asked] - (clusters.hubness_sums / clusters.weights)[near]
    is_other = ties.group_of[near] != group[asked]
    rival = np.where(is_other, similarity, -1).reshape(candidates.shape).max(axis=1, initial=-1)
    is_alone = np.bincount(of_node)[of_node[rows]] == 1
    has_company = np.bincount(group)[group[rows]] > 1
    own = similarity_to_rest(leaves, rows, clusters, of_node)
    by_group = is_alone & has_company
    if by_group.any():
        whole = leaves.gathered(group, ties.count)
        own[by_group] = similarity_to_rest(leaves, rows[by_group], whole, group)
    margin = np.where(has_company, own - np.maximum(threshold, rival), threshold - rival)
    confidence: Float32Array = expit(margin / scale).astype(np.float32)
    return confidence


def similarity_to_rest(leaves: Clusters, rows: Int64Array, clusters: Clusters, of_node: Int64Array) -> Float64Array:
    """Mean similarity, less hubness, of each of `rows` to the others of its cluster, (rows,); 0 where it is alone.

    `of_node` (n,) is the cluster of each node, and `clusters` hold the sums of all of them.
    """
    cluster, weights, hubness = of_node[rows], leaves.weights[rows], leaves.hubness_sums[rows]
    has_rest = np.bincount(of_node)[cluster] > 1
    rest_weights = np.where(has_rest, clusters.weights[cluster] - weights, 1)
    itself = row_dots(leaves.vector_sums, rows, leaves.vector_sums, rows)
    along = row_dots(leaves.vector_sums, rows, clusters.vector_sums, cluster) - itself
    rest_hubness = (clusters.hubness_sums[cluster] - hubness) / rest_weights
    similarity = along / (weights * rest_weights) - hubness / weights - rest_hubness
    return np.where(has_rest, similarity, 0.0)

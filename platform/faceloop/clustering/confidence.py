"""How sure a node's label is, from margins of similarity alone."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges, row_dots
from faceloop.clustering.strangers import best_rivals
from faceloop.clustering.ties import Ties

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


def node_confidence(
    leaves: Clusters,
    of_node: Int64Array,
    ties: Ties,
    *,
    candidates: Int64Array,
    neighbours: Edges,
    threshold: float,
    scale: float,
) -> Float32Array:
    """Confidence of each node's label, (n,) f32 in [0, 1]: logistic(margin / scale).

    `leaves` are the nodes as clusters of one, `of_node` (n,) their clusters 0..c-1, and the labels are the groups of
    `ties` (c clusters). For a node with company the margin is its mean similarity to the rest of its
    cluster (itself left out; of its group where it is alone in its cluster) less the
    larger of `threshold` and its similarity to the best cluster of another group. For a lone node it is
    `threshold` less the best other: sure when nobody came near. 0.5 means a coin toss between two answers.
    Rivals are looked for among `candidates` (c, k), the clusters near each, and the clusters of `neighbours`
    (edges between nodes). It ranks nodes and is not yet a calibrated probability.
    """
    clusters = leaves.gathered(of_node, len(ties.group_of))
    group_of_node = ties.group_of[of_node]
    node_hubness = leaves.hubness_sums / leaves.weights
    rival = best_rivals(
        leaves.means(),
        node_hubness,
        clusters.means(),
        clusters.hubness_sums / clusters.weights,
        candidates,
        of_node,
        ties.group_of,
        neighbours.rows,
        neighbours.cols,
    )
    own = _similarity_to_rest(leaves, node_hubness, clusters, of_node)
    is_alone = np.bincount(of_node)[of_node] == 1
    has_company = np.bincount(group_of_node)[group_of_node] > 1
    if (is_alone & has_company).any():
        whole = leaves.gathered(group_of_node, ties.count)
        own = np.where(is_alone, _similarity_to_rest(leaves, node_hubness, whole, group_of_node), own)
    margin = np.where(has_company, own - np.maximum(threshold, rival), threshold - rival)
    confidence: Float32Array = expit(margin / scale).astype(np.float32)
    return confidence


def _similarity_to_rest(
    leaves: Clusters, node_hubness: Float32Array, clusters: Clusters, of_node: Int64Array
) -> Float32Array:
    """Mean similarity of each node to the others of its cluster, (n,) f32; any number where it is alone."""
    every = np.arange(len(of_node), dtype=np.int64)
    is_alone = np.bincount(of_node)[of_node] == 1
    rest_weights = np.where(is_alone, 1, clusters.weights[of_node] - leaves.weights)
    with_itself = row_dots(leaves.vector_sums, every, leaves.vector_sums, every)
    dots = row_dots(leaves.vector_sums, every, clusters.vector_sums, of_node) - with_itself
    rest_hubness = (clusters.hubness_sums[of_node] - leaves.hubness_sums) / rest_weights
    own: Float32Array = dots / (leaves.weights * rest_weights) - node_hubness - rest_hubness
    return own

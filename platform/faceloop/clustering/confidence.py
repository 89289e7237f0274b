"""How sure a node's label is, from margins of similarity alone."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import SearchParams, nearest

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_RIVALS_LOOKED_AT = 4


def node_confidence(
    leaves: Clusters, labels: Int64Array, *, threshold: float, scale: float, search: SearchParams
) -> Float32Array:
    """Confidence of each node's label, (n,) f32 in [0, 1]: logistic(margin / scale).

    `leaves` are the nodes as clusters of one, `labels` (n,) their clusters 0..c-1. For a node with
    company the margin is its mean similarity to the rest of its cluster (itself left out) less the
    larger of `threshold` and its similarity to the best other cluster. For a lone node it is
    `threshold` less the best other cluster: sure when nobody came near. 0.5 means a coin toss
    between two answers. It ranks nodes and is not yet a calibrated probability.
    """
    count = int(labels.max()) + 1
    clusters = leaves.gathered(labels, count)
    rival = _best_other(leaves, clusters, labels, search)
    rest_weights = clusters.weights[labels] - leaves.weights
    has_company = np.bincount(labels, minlength=count)[labels] > 1
    safe_weights = np.where(has_company, rest_weights, 1)
    rest_sums = clusters.vector_sums[labels] - leaves.vector_sums
    rest_hubness = (clusters.hubness_sums[labels] - leaves.hubness_sums) / safe_weights
    own = (
        np.einsum("nd,nd->n", leaves.vector_sums, rest_sums) / (leaves.weights * safe_weights)
        - leaves.hubness_sums / leaves.weights
        - rest_hubness
    )
    margin = np.where(has_company, own - np.maximum(threshold, rival), threshold - rival)
    confidence: Float32Array = expit(margin / scale).astype(np.float32)
    return confidence


def _best_other(leaves: Clusters, clusters: Clusters, labels: Int64Array, search: SearchParams) -> Float32Array:
    """Similarity of each node to the nearest cluster that is not its own, (n,); -1 where there is none."""
    found = nearest(leaves.means(), clusters.means(), _RIVALS_LOOKED_AT, search)
    hubness = clusters.hubness_sums / clusters.weights
    own_hubness = leaves.hubness_sums / leaves.weights
    similarity = found.similarity - hubness[found.index] - own_hubness[:, None]
    is_other = (found.index >= 0) & (found.index != labels[:, None])
    best: Float32Array = np.where(is_other, similarity, np.float32(-1)).max(axis=1).astype(np.float32)
    return best

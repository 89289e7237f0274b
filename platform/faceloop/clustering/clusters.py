"""Clusters as sums of their weighted vectors: merging is adding, averages over pairs are exact."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from faceloop.clustering.knn import row_dots

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Clusters as their sums. Averages over pairs of faces follow from sums alone.

    `hubness` is subtracted from both ends of a similarity: how much more than usual this cluster
    resembles strangers (see hubness.py). Zero everywhere is plain average linkage.
    """

    vector_sums: Float32Array  # (c, d) sum of weight × unit vector
    weights: Float32Array  # (c,) sum of weights, > 0
    hubness_sums: Float32Array  # (c,) sum of weight × hubness

    @classmethod
    def of_nodes(cls, vectors: Float32Array, weights: Float32Array) -> "Clusters":
        """One cluster a node: vectors (n, d) unit norm, weights (n,) > 0."""
        return cls(
            vector_sums=vectors * weights[:, None],
            weights=weights.astype(np.float32),
            hubness_sums=np.zeros(len(weights), np.float32),
        )

    def means(self) -> Float32Array:
        """Weighted mean vectors (c, d) f32, norm at most 1; never renormalised, so that the inner
        product of two means is the mean similarity of their pairs of faces."""
        return (self.vector_sums / self.weights[:, None]).astype(np.float32, copy=False)

    def similarity(self, rows: Int64Array, cols: Int64Array) -> Float32Array:
        """Mean similarity of the pairs (rows[e], cols[e]) less the hubness of both ends: (e,) f32."""
        dots = row_dots(self.vector_sums, rows, self.vector_sums, cols)
        return self.corrected(rows, cols, dots / (self.weights[rows] * self.weights[cols]))

    def corrected(self, rows: Int64Array, cols: Int64Array, bare: Float32Array) -> Float32Array:
        """The inner products of means `bare` (e,) less the hubness of both ends: (e,) f32."""
        hubness = self.hubness_sums / self.weights
        if not hubness.any():
            return bare
        corrected: Float32Array = (bare - hubness[rows] - hubness[cols]).astype(np.float32)
        return corrected

    def lowest_bare_similarity(self, min_similarity: float) -> float:
        """The inner product of means below which no pair can reach `min_similarity`: a negative
        hubness at both ends lifts a pair, by this much at most."""
        return min_similarity + 2 * min(float((self.hubness_sums / self.weights).min()), 0.0)

    def gathered(self, of_cluster: Int64Array, count: int) -> "Clusters":
        """Add cluster i into cluster of_cluster[i]; the result has `count` clusters."""
        rows = np.arange(len(of_cluster))
        ones = np.ones(len(of_cluster), np.float32)
        joined = csr_array((ones, (of_cluster, rows)), shape=(count, len(of_cluster)))
        return Clusters(
            vector_sums=joined @ self.vector_sums,
            weights=joined @ self.weights,
            hubness_sums=joined @ self.hubness_sums,
        )

    def with_hubness(self, hubness: Float32Array) -> "Clusters":
        """The same clusters, each with this hubness (c,)."""
        return replace(self, hubness_sums=hubness * self.weights)

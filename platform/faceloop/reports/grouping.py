"""Clusters of tracklets as weighted sums: how alike each tracklet is to its own and to the nearest other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceloop.clustering.knn import SearchParams, nearest
from faceloop.reports.material import Tracklets

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Clustered tracklets in rows, and their clusters as weighted sums."""

    codes: Int64Array  # (m,) cluster 0..c-1 of each
    vectors: Float32Array  # (m, d)
    weights: Float32Array  # (m,) > 0
    sums: Float32Array  # (c, d) sum of weight × unit vector
    sum_weights: Float32Array  # (c,)

    def means(self) -> Float32Array:
        """(c, d); the inner product of two is the mean similarity of their pairs."""
        return (self.sums / self.sum_weights[:, None]).astype(np.float32)

    def own_similarity(self) -> Float32Array:
        """Mean similarity of each tracklet to the rest of its cluster, (m,); NaN for one that is alone."""
        rest_weights = self.sum_weights[self.codes] - self.weights
        is_alone = np.bincount(self.codes)[self.codes] == 1
        rest = self.sums[self.codes] - self.vectors * self.weights[:, None]
        own = np.einsum("nd,nd->n", self.vectors, rest) / np.where(is_alone, 1, rest_weights)
        return np.where(is_alone, np.nan, own).astype(np.float32)

    def rival_similarity(self, search: SearchParams) -> Float32Array:
        """Similarity of each tracklet to the nearest cluster that is not its own, (m,); NaN without one."""
        found = nearest(self.vectors, self.means(), 2, search)
        is_own = found.index == self.codes[:, None]
        others = np.where(is_own | (found.index < 0), -np.inf, found.similarity).max(axis=1, initial=-np.inf)
        return np.where(np.isfinite(others), others, np.nan).astype(np.float32)


def group(tracklets: Tracklets) -> Grouping | None:
    """The clusters of these tracklets; None where nothing is clustered."""
    rows = np.flatnonzero(tracklets.cluster_ids >= 0)
    if not len(rows):
        return None
    _, codes = np.unique(tracklets.cluster_ids[rows], return_inverse=True)
    vectors, weights = tracklets.vectors[rows], np.maximum(tracklets.weights[rows], np.float32(1e-6))
    sums = np.zeros((int(codes.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, codes, vectors * weights[:, None])
    return Grouping(
        codes=codes.astype(np.int64),
        vectors=vectors,
        weights=weights,
        sums=sums,
        sum_weights=np.bincount(codes, weights=weights).astype(np.float32),
    )

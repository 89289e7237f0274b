"""A faiss index as a file, for consumers outside of the platform: exact, by inner product. With `knn` home of faiss."""

import logging
from pathlib import Path

import numpy as np

from faceloop.clustering.knn import Float32Array, Neighbours
from facestore.errors import DataError
from facestore.vectors import check_vectors

logging.getLogger("faiss.loader").setLevel(logging.WARNING)
import faiss  # noqa: E402


def write_index(path: Path, vectors: Float32Array) -> None:
    """Write vectors (n, d) f32 as a flat index; equal vectors give equal bytes. Raises DataError for other arrays."""
    faiss.write_index(_flat(vectors), str(path))


def _flat(vectors: Float32Array) -> faiss.IndexFlatIP:
    if vectors.ndim != 2 or vectors.dtype != np.float32 or not np.isfinite(vectors).all():
        raise DataError(f"vectors are {vectors.dtype} {vectors.shape}; give finite float32 of shape (rows, dim)")
    check_vectors(vectors, "vectors of an index")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))
    return index


class IndexFile:
    """A flat index that was read whole; `rows` and `dimension` are its shape."""

    def __init__(self, path: Path) -> None:
        """Raises DataError for a file that is no such index."""
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise DataError(f"{path} is no faiss index; fetch it again") from error
        if index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise DataError(f"{path} does not rank by inner product; publish the gallery again")
        self._take(index)

    @classmethod
    def of(cls, vectors: Float32Array) -> "IndexFile":
        """The index that `write_index` would write of (n, d) f32, in memory alone."""
        found = cls.__new__(cls)
        found._take(_flat(vectors))
        return found

    def _take(self, index: faiss.Index) -> None:
        self._index = index
        self.rows = int(index.ntotal)
        self.dimension = int(index.d)

    def vectors(self) -> Float32Array:
        """All rows, (rows, dimension) f32."""
        return np.asarray(self._index.reconstruct_n(0, self.rows), np.float32)

    def nearest(self, queries: Float32Array, k: int) -> Neighbours:
        """The k rows of largest inner product for each of (q, d) f32, best first; fewer where there are fewer.

        Raises DataError for queries of another width, or that are not finite.
        """
        if queries.ndim != 2 or queries.shape[1] != self.dimension or not np.isfinite(queries).all():
            raise DataError(f"queries have shape {queries.shape}, expected finite numbers (q, {self.dimension})")
        k = min(k, self.rows)
        if k == 0 or len(queries) == 0:
            return Neighbours(
                index=np.empty((len(queries), 0), np.int64), similarity=np.empty((len(queries), 0), np.float32)
            )
        similarity, rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return Neighbours(index=rows, similarity=similarity)

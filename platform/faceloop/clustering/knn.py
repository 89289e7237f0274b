"""Nearest neighbours by inner product. The one home of faiss."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports each instruction set it skips
import faiss  # noqa: E402

_SEED = 1234  # of the k-means that lays out the inverted lists
_TRAIN_ROWS_PER_LIST = 64

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParams:
    """How to search. Exact up to `flat_rows_max` base rows; above, inverted lists with `probes`."""

    flat_rows_max: int
    probes: int
    block_rows: int  # queries answered at once: bounds the memory of a search


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """For each query row its most similar base rows, best first. Missing ones have index -1."""

    index: Int64Array  # (queries, k) row in the base
    similarity: Float32Array  # (queries, k) inner product, -inf where missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Undirected weighted edges, each once with rows < cols, sorted by (rows, cols)."""

    rows: Int64Array  # (e,)
    cols: Int64Array  # (e,)
    similarity: Float32Array  # (e,) inner product

    @classmethod
    def none(cls) -> "Edges":
        """A graph without edges."""
        empty = np.empty(0, np.int64)
        return cls(rows=empty, cols=empty, similarity=np.empty(0, np.float32))

    @classmethod
    def joined(cls, parts: Sequence["Edges"]) -> "Edges":
        """The edges of graphs over disjoint rows, sorted."""
        rows = np.concatenate([part.rows for part in parts])
        cols = np.concatenate([part.cols for part in parts])
        similarity = np.concatenate([part.similarity for part in parts])
        order = np.lexsort((cols, rows))
        return cls(rows=rows[order], cols=cols[order], similarity=similarity[order])


def nearest(queries: Float32Array, base: Float32Array, k: int, params: SearchParams) -> Neighbours:
    """The k base rows with the largest inner product for each query row; both arrays are (rows, d) f32.

    Raises DataError for vectors that are not finite: faiss would silently rank them anywhere.
    """
    _check_vectors(queries)
    _check_vectors(base)
    k = min(k, len(base))
    index = np.full((len(queries), k), -1, np.int64)
    similarity = np.full((len(queries), k), -np.inf, np.float32)
    if k == 0 or len(queries) == 0:
        return Neighbours(index=index, similarity=similarity)
    searcher = _build_index(base, params)
    for start in range(0, len(queries), params.block_rows):
        block = slice(start, start + params.block_rows)
        found, rows = searcher.search(np.ascontiguousarray(queries[block]), k)
        index[block] = rows
        similarity[block] = np.where(rows >= 0, found, -np.inf)
    return Neighbours(index=index, similarity=similarity)


def knn_graph(vectors: Float32Array, k: int, *, params: SearchParams, min_similarity: float) -> Edges:
    """Join each row of vectors (n, d) f32, norm at most 1, to its k nearest other rows at or above
    `min_similarity`; an edge stands if either end chose the other. The same rows in the same order
    give the same edges."""
    found = nearest(vectors, vectors, k + 1, params)
    source = np.repeat(np.arange(len(vectors), dtype=np.int64), found.index.shape[1])
    target = found.index.ravel()
    # A hair of slack: the search's own rounding must not decide; the exact value below does.
    is_near = found.similarity.ravel() >= min_similarity - 1e-4
    is_likely = is_near & (target >= 0) & (target != source)
    source, target = source[is_likely], target[is_likely]
    n = max(len(vectors), 1)
    keys = np.unique(np.minimum(source, target) * n + np.maximum(source, target))
    rows, cols = keys // n, keys % n
    similarity = row_dots(vectors, rows, vectors, cols)
    is_kept = similarity >= min_similarity
    return Edges(rows=rows[is_kept], cols=cols[is_kept], similarity=similarity[is_kept])


def row_dots(left: Float32Array, left_rows: Int64Array, right: Float32Array, right_rows: Int64Array) -> Float32Array:
    """Inner products left[left_rows[e]] · right[right_rows[e]] (e,) f32, in blocks of bounded memory.

    Summed row by row, so a value does not depend on its neighbours or on the number of threads.
    """
    dots = np.empty(len(left_rows), np.float32)
    block_rows = 65_536
    for start in range(0, len(left_rows), block_rows):
        block = slice(start, start + block_rows)
        dots[block] = np.einsum("ed,ed->e", left[left_rows[block]], right[right_rows[block]])
    return dots


def _check_vectors(vectors: Float32Array) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"vectors are {vectors.dtype} of shape {vectors.shape}; give float32 of shape (rows, dim)")
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector in row {bad} holds NaN or infinity; re-embed its face or leave it out")


def _build_index(base: Float32Array, params: SearchParams) -> faiss.Index:
    rows, dim = base.shape
    flat = faiss.IndexFlatIP(dim)
    if rows <= params.flat_rows_max:
        flat.add(np.ascontiguousarray(base))
        return flat
    lists = max(1, int(4 * np.sqrt(rows)))
    index = faiss.IndexIVFFlat(flat, dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = _SEED
    index.cp.max_points_per_centroid = _TRAIN_ROWS_PER_LIST
    index.cp.min_points_per_centroid = 1
    index.train(np.ascontiguousarray(base))
    index.add(np.ascontiguousarray(base))
    index.nprobe = min(params.probes, lists)
    return index

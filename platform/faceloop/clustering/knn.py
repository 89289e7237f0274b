"""Nearest neighbours by inner product. The one home of faiss."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.cells import keep_best, visits
from faceloop.clustering.compiled import compiled, dot
from facestore.errors import ConfigError, DataError

logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports each instruction set it skips
import faiss  # noqa: E402

_SEED = 1234  # of the k-means that lays out the cells
_TRAIN_ROWS_PER_CELL = 64
_BLOCK_QUERIES = 65_536
_CROWDED = 4  # a cell of so many times its planned rows is cut up

Device = Literal["auto", "cpu", "gpu"]
Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchParams:
    """How to search. Exact up to `flat_rows_max` base rows; above, only the `probes` nearest cells of the space.

    Raises ConfigError for a GPU that is not there.
    """

    flat_rows_max: int
    probes: int
    block_rows: int  # base rows of a cell, and queries answered at once: bounds cost and memory of a search
    device: Device = "auto"  # auto: the first GPU if this faiss has one

    def __post_init__(self) -> None:
        if self.device == "gpu" and faiss.get_num_gpus() == 0:
            raise ConfigError("device is gpu and faiss sees none; install a faiss with GPU support or say cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """For each query row its most similar base rows, best first. Missing ones have index -1."""

    index: Int64Array  # (queries, k) row in the base
    similarity: Float32Array  # (queries, k) inner product, -inf where missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Undirected weighted edges with rows < cols, sorted by (rows, cols); each once, but see `joined`."""

    rows: Int64Array  # (e,)
    cols: Int64Array  # (e,)
    similarity: Float32Array  # (e,) inner product

    @classmethod
    def none(cls) -> "Edges":
        """A graph without edges."""
        empty = np.empty(0, np.int64)
        return cls(rows=empty, cols=empty, similarity=np.empty(0, np.float32))

    def between(self, of_row: Int64Array, means: Float32Array) -> "Edges":
        """The same edges once row i has gone into row of_row[i], with the similarity of the new rows' means."""
        rows, cols = of_row[self.rows], of_row[self.cols]
        return _exact_edges(means, [_pair_keys(rows, cols, len(means))], -np.inf)

    @classmethod
    def joined(cls, parts: Sequence["Edges"]) -> "Edges":
        """All edges of these graphs, sorted; an edge that two of them have stands twice."""
        rows = np.concatenate([part.rows for part in parts])
        cols = np.concatenate([part.cols for part in parts])
        similarity = np.concatenate([part.similarity for part in parts])
        order = np.argsort(rows * (int(cols.max(initial=0)) + 1) + cols, kind="stable")  # runs that are sorted: fast
        return cls(rows=rows[order], cols=cols[order], similarity=similarity[order])


def nearest(queries: Float32Array, base: Float32Array, k: int, params: SearchParams) -> Neighbours:
    """The k base rows with the largest inner product for each query row; both arrays are (rows, d) f32.

    Raises DataError for vectors that are not finite: faiss would silently rank them anywhere.
    """
    _check_vectors(queries)
    if queries is not base:
        _check_vectors(base)
    k = min(k, len(base))
    index = np.full((len(queries), k), -1, np.int64)
    similarity = np.full((len(queries), k), -np.inf, np.float32)
    if k == 0 or len(queries) == 0:
        return Neighbours(index=index, similarity=similarity)
    if len(base) > params.flat_rows_max:
        _search_cells(queries, base, params, index, similarity)
        return Neighbours(index=index, similarity=similarity)
    base = np.ascontiguousarray(base)
    for start in range(0, len(queries), params.block_rows):
        block = slice(start, start + params.block_rows)
        similarity[block], index[block] = _flat_search(queries[block], base, k, params.device)
    return Neighbours(index=index, similarity=similarity)


def knn_graph(vectors: Float32Array, k: int, *, params: SearchParams, min_similarity: float) -> Edges:
    """Join each row of vectors (n, d) f32, norm at most 1, to its k nearest other rows at or above
    `min_similarity`; an edge stands if either end chose the other. The same rows in the same order
    give the same edges."""
    every = np.arange(len(vectors), dtype=np.int64)
    return edges_to(vectors, every, nearest(vectors, vectors, k + 1, params), min_similarity=min_similarity)


def edges_to(vectors: Float32Array, queries: Int64Array, found: Neighbours, *, min_similarity: float) -> Edges:
    """Edges from rows `queries` (q,) of vectors (n, d) to what a search found for them, at or above
    `min_similarity`; an edge stands if either end chose the other."""
    keys = []
    for start in range(0, len(queries), _BLOCK_QUERIES):
        block = slice(start, start + _BLOCK_QUERIES)
        # A hair of slack: the search's own rounding must not decide; the exact value does.
        at = np.nonzero((found.similarity[block] >= min_similarity - 1e-4) & (found.index[block] >= 0))
        keys.append(_pair_keys(queries[block][at[0]], found.index[block][at], len(vectors)))
    return _exact_edges(vectors, keys, min_similarity)


def _pair_keys(source: Int64Array, target: Int64Array, n: int) -> Int64Array:
    """One number for each undirected pair of two rows of 0..n-1."""
    is_pair = source != target
    source, target = source[is_pair], target[is_pair]
    keys: Int64Array = np.minimum(source, target) * n + np.maximum(source, target)
    return keys


def _exact_edges(vectors: Float32Array, keys: Sequence[Int64Array], min_similarity: float) -> Edges:
    found = np.unique(np.concatenate([np.empty(0, np.int64), *keys]))
    rows, cols = found // max(len(vectors), 1), found % max(len(vectors), 1)
    similarity = row_dots(vectors, rows, vectors, cols)
    is_kept = similarity >= min_similarity
    if is_kept.all():
        return Edges(rows=rows, cols=cols, similarity=similarity)
    return Edges(rows=rows[is_kept], cols=cols[is_kept], similarity=similarity[is_kept])


def row_dots(left: Float32Array, left_rows: Int64Array, right: Float32Array, right_rows: Int64Array) -> Float32Array:
    """Inner products left[left_rows[e]] · right[right_rows[e]] (e,) f32, rows must exist.

    Summed row by row, so a value does not depend on its neighbours or on the number of threads.
    """
    dots = np.empty(len(left_rows), np.float32)
    _fill_row_dots(left, left_rows, right, right_rows, dots)
    return dots


@compiled
def _fill_row_dots(
    left: Float32Array, left_rows: Int64Array, right: Float32Array, right_rows: Int64Array, dots: Float32Array
) -> None:
    for place in range(len(left_rows)):
        dots[place] = dot(left[left_rows[place]], right[right_rows[place]])


def _check_vectors(vectors: Float32Array) -> None:
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"vectors are {vectors.dtype} of shape {vectors.shape}; give float32 of shape (rows, dim)")
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(f"vector in row {bad} holds NaN or infinity; re-embed its face or leave it out")


def _flat_search(queries: Float32Array, base: Float32Array, k: int, device: Device) -> tuple[Float32Array, Int64Array]:
    """Exact: similarity and row of the k best, (queries, k) each, best first."""
    queries = np.ascontiguousarray(queries)
    if device != "cpu" and faiss.get_num_gpus() > 0:
        found, rows = faiss.knn_gpu(_gpu(), queries, base, k, metric=faiss.METRIC_INNER_PRODUCT)
    else:
        found, rows = faiss.knn(queries, base, k, metric=faiss.METRIC_INNER_PRODUCT)
    return found, rows


@cache
def _gpu() -> Any:  # faiss has no types; its scratch memory is taken once
    return faiss.StandardGpuResources()


def _search_cells(
    queries: Float32Array, base: Float32Array, params: SearchParams, index: Int64Array, similarity: Float32Array
) -> None:
    """Fill `index` and `similarity` (queries, k) from the `probes` cells nearest to each query.

    Inverted lists (Jégou et al. 2011), except that all queries of a cell are answered together, by one
    matrix product: several times faster where everybody asks.
    """
    centres = _cell_centres(base, max(1, len(base) // params.block_rows))
    visited = _nearest_centres(queries, centres, params.probes)
    home = visited[:, 0] if queries is base else _nearest_centres(base, centres, 1)[:, 0]
    for visit in visits(home, visited, len(centres), rows_max=_CROWDED * params.block_rows):
        found, rows = _flat_search(
            queries[visit.queries], base[visit.rows], min(index.shape[1], len(visit.rows)), params.device
        )
        keep_best(index, similarity, visit.queries, visit.rows, rows, found)


def _cell_centres(base: Float32Array, cells: int) -> Float32Array:
    """Directions (cells, d) that divide the rows, by spherical k-means on an even sample."""
    step = max(1, len(base) // (_TRAIN_ROWS_PER_CELL * cells))
    sample = base[::step] / np.maximum(np.linalg.norm(base[::step], axis=1, keepdims=True), np.float32(1e-12))
    trainer = faiss.Kmeans(
        base.shape[1],
        cells,
        niter=8,
        seed=_SEED,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * _TRAIN_ROWS_PER_CELL,
    )
    trainer.train(np.ascontiguousarray(sample))
    return np.asarray(trainer.centroids, np.float32)


def _nearest_centres(rows: Float32Array, centres: Float32Array, probes: int) -> NDArray[np.int32]:
    found = np.empty((len(rows), min(probes, len(centres))), np.int32)
    for start in range(0, len(rows), _BLOCK_QUERIES):
        block = slice(start, start + _BLOCK_QUERIES)
        found[block] = _flat_search(rows[block], centres, found.shape[1], "cpu")[1]
    return found

"""Vectors that people bring: checked, joined into tracklet templates, ready to be clustered."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from faceloop.clustering.nodes import Nodes
from facestore.errors import DataError

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_UNIT_TOLERANCE = 1e-3
_ZERO_NORM = 1e-6
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVectors:
    """Nodes, and which node each given row went into."""

    nodes: Nodes
    node_of_row: Int64Array  # (n,), -1 where the row was rejected
    rejected: dict[str, int]  # reason → rows: not_finite, zero_norm


def nodes_of_vectors(
    vectors: Float32Array,
    *,
    tracklets: Int64Array | None,
    subsets: Int64Array | None,
    quality: Float32Array | None,
    normalise: bool,
) -> OwnVectors:
    """Nodes from rows (n, d) f32. `tracklets` and `subsets` are codes (n,), below 0 for a row of its own and for no
    subset; `quality` (n,) lies in [0, 1].

    Rows that are not finite or have no length are rejected with a reason. Raises DataError for vectors that are not of
    unit length (unless `normalise`), for columns of another length, and for a tracklet in two subsets.
    """
    n = len(vectors)
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        raise DataError(f"vectors are {vectors.dtype} of shape {vectors.shape}; give floats of shape (rows, dim)")
    for name, column in (("tracklets", tracklets), ("subsets", subsets), ("quality", quality)):
        if column is not None and column.shape != (n,):
            raise DataError(f"{name} have shape {column.shape}, the vectors {n} rows; give one value a row")
    norms = np.concatenate([_norms(vectors[at : at + _BLOCK_ROWS]) for at in range(0, n, _BLOCK_ROWS)] or [np.empty(0)])
    is_finite = np.isfinite(norms)
    is_zero = is_finite & (norms < _ZERO_NORM)
    is_good = is_finite & ~is_zero
    is_long = is_good & (np.abs(norms - 1) > _UNIT_TOLERANCE)
    if is_long.any() and not normalise:
        row = int(np.flatnonzero(is_long)[0])
        raise DataError(
            f"{is_long.sum()} of {n} vectors are not of unit length, row {row} has {norms[row]:.4g}; normalise them, "
            "or say --normalise"
        )
    if quality is not None and not ((quality >= 0) & (quality <= 1)).all():
        raise DataError("a quality is outside [0, 1]; scale it")
    rows = np.flatnonzero(is_good)
    node_of_row = np.full(n, -1, np.int64)
    node_of_row[rows] = _codes(rows, tracklets)
    count = int(node_of_row.max(initial=-1)) + 1
    weights = np.ones(len(rows), np.float32) if quality is None else np.maximum(quality[rows], np.float32(1e-6))
    unit = vectors[rows].astype(np.float32) / norms[rows, None].astype(np.float32)
    into = node_of_row[rows]
    if count == len(rows):  # each row is its own node, in order
        sums, node_weights = unit, weights
    else:
        joined = csr_array((weights, (into, np.arange(len(rows)))), shape=(count, len(rows)))
        sums, node_weights = joined @ unit, np.bincount(into, weights, minlength=count)
    lengths = np.linalg.norm(sums, axis=1)
    nodes = Nodes(
        node_ids=tuple(f"{node:010d}" for node in range(count)),
        vectors=np.ascontiguousarray(sums / np.maximum(lengths, _ZERO_NORM)[:, None], np.float32),
        weights=np.maximum(node_weights, 1e-6).astype(np.float32),
        quality=_highest(into, np.ones(len(rows), np.float32) if quality is None else quality[rows], count),
        subset=_subset_of_node(into, None if subsets is None else subsets[rows], count),
    )
    rejected = {"not_finite": int((~is_finite).sum()), "zero_norm": int(is_zero.sum())}
    return OwnVectors(nodes=nodes, node_of_row=node_of_row, rejected={k: v for k, v in rejected.items() if v})


def _norms(block: Float32Array) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        norms: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    return norms


def _codes(rows: Int64Array, tracklets: Int64Array | None) -> Int64Array:
    """Node of each good row: by tracklet, numbered by first row; a row without a tracklet is a node of its own."""
    if tracklets is None:
        return np.arange(len(rows), dtype=np.int64)
    given = tracklets[rows].astype(np.int64)
    alone = given < 0
    given[alone] = (given.max(initial=0) + 1) + np.arange(int(alone.sum()))
    _, first, codes = np.unique(given, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


def _highest(into: Int64Array, values: Float32Array, count: int) -> Float32Array:
    highest = np.zeros(count, np.float32)
    np.maximum.at(highest, into, values.astype(np.float32))
    return highest


def _subset_of_node(into: Int64Array, subsets: Int64Array | None, count: int) -> NDArray[np.int32]:
    if subsets is None:
        return np.zeros(count, np.int32)
    _, codes = np.unique(subsets, return_inverse=True)
    low, high = np.full(count, len(codes)), np.full(count, -1)
    np.minimum.at(low, into, codes)
    np.maximum.at(high, into, codes)
    if (low != high).any():
        row = int(np.flatnonzero(into == np.flatnonzero(low != high)[0])[0])
        raise DataError(f"the tracklet of vector {row} lies in two subsets; a tracklet belongs to one")
    return low.astype(np.int32)

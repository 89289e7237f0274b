from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, knn_graph, nearest
from facestore.errors import ConfigError, DataError

EXACT = SearchParams(flat_rows_max=10_000, probes=8, block_rows=7)


def unit_vectors(seed: int, n: int, dim: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(seed=st.integers(0, 99), n=st.integers(1, 25), k=st.integers(1, 8), floor=st.floats(-1, 0.9))
def test_the_graph_is_the_brute_force_one(seed: int, n: int, k: int, floor: float) -> None:
    vectors = unit_vectors(seed, n, 5)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    chosen = {
        (min(a, b), max(a, b))
        for a in range(n)
        for b in np.argsort(-similarity[a])[: min(k, n - 1)].tolist()
        if similarity[a, b] >= floor
    }
    edges = knn_graph(vectors, k, params=EXACT, min_similarity=floor)
    found = list(zip(edges.rows.tolist(), edges.cols.tolist(), strict=True))
    assert found == sorted(chosen)
    assert edges.similarity == pytest.approx([similarity[pair] for pair in found], abs=1e-5)


def test_a_long_vector_that_beats_the_row_itself_does_not_hide_a_neighbour() -> None:
    means = np.array([[0.1, 0], [1, 0], [0, 1]], np.float32)
    edges = knn_graph(means, 1, params=EXACT, min_similarity=0.05)
    assert (edges.rows.tolist(), edges.cols.tolist()) == ([0], [1])


def test_inverted_lists_find_close_neighbours_and_repeat_themselves() -> None:
    vectors = np.repeat(unit_vectors(3, 100, 16), 4, axis=0)
    params = replace(EXACT, flat_rows_max=50, probes=8)
    first = nearest(vectors, vectors, 4, params)
    assert (first.similarity > 0.999).all()
    assert (nearest(vectors, vectors, 4, params).index == first.index).all()


def test_fewer_rows_than_neighbours_is_fine() -> None:
    found = nearest(unit_vectors(0, 2, 3), unit_vectors(1, 1, 3), 5, EXACT)
    assert found.index.tolist() == [[0], [0]]


def test_a_vector_with_nan_is_refused_with_its_row() -> None:
    vectors = unit_vectors(0, 3, 4)
    vectors[1, 2] = np.nan
    with pytest.raises(DataError, match="row 1"):
        nearest(vectors, vectors, 1, EXACT)


def test_double_precision_vectors_are_refused() -> None:
    with pytest.raises(DataError, match="float32"):
        nearest(np.eye(3), np.eye(3), 1, EXACT)  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_refused_before_any_work() -> None:
    if faiss.get_num_gpus():
        pytest.skip("this machine has a GPU that faiss sees")
    with pytest.raises(ConfigError, match="faiss sees none"):
        SearchParams(flat_rows_max=10, probes=1, block_rows=10, device="gpu")

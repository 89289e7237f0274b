import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.cells import keep_best, visits
from faceloop.clustering.knn import SearchParams, knn_graph, nearest


def unit_vectors(seed: int, n: int, dim: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


@given(seed=st.integers(0, 200), n=st.integers(1, 40), cells=st.integers(1, 5), rows_max=st.integers(1, 9))
def test_every_query_sees_one_piece_of_each_cell_it_looks_into(seed: int, n: int, cells: int, rows_max: int) -> None:
    rng = np.random.default_rng(seed)
    home = rng.integers(0, cells, n).astype(np.int32)
    visited = np.argsort(rng.random((n, cells)), axis=1)[:, : max(1, cells - 1)].astype(np.int32)
    done = list(visits(home, visited, cells, rows_max=rows_max))
    seen = sorted((query, int(home[visit.rows[0]])) for visit in done for query in visit.queries.tolist())
    rows_of = np.bincount(home, minlength=cells)
    assert seen == sorted((query, cell) for query in range(n) for cell in visited[query].tolist() if rows_of[cell])
    assert all(len(visit.rows) <= rows_max and len(set(home[visit.rows].tolist())) == 1 for visit in done)


@given(seed=st.integers(0, 200), k=st.integers(1, 6), batches=st.integers(1, 4))
def test_merging_batches_keeps_the_best_of_all(seed: int, k: int, batches: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (3, batches * 4)).astype(np.float32)  # many ties
    index, similarity = np.full((3, k), -1, np.int64), np.full((3, k), -np.inf, np.float32)
    for rows in np.array_split(rng.permutation(batches * 4).astype(np.int64), batches):
        rows.sort()
        order = np.argsort(-scores[:, rows], axis=1, kind="stable")[:, :k]
        keep_best(index, similarity, np.arange(3), rows, order, np.take_along_axis(scores[:, rows], order, axis=1))
    for query in range(3):
        expected = sorted(range(batches * 4), key=lambda row: (-scores[query, row], row))[:k]
        assert index[query, : len(expected)].tolist() == expected
        assert similarity[query, : len(expected)].tolist() == scores[query, expected].tolist()


def test_looking_into_every_cell_is_the_exact_search() -> None:
    vectors = unit_vectors(0, 300, 8)
    exact = nearest(vectors, vectors, 10, SearchParams(flat_rows_max=1000, probes=1, block_rows=64))
    cells = nearest(vectors, vectors, 10, SearchParams(flat_rows_max=10, probes=99, block_rows=40))
    assert (cells.index == exact.index).all()
    assert cells.similarity == pytest.approx(exact.similarity, abs=1e-6)


def test_queries_that_are_not_in_the_base_find_their_neighbours_in_cells() -> None:
    base = unit_vectors(1, 400, 16)
    found = nearest(base[::7].copy(), base, 1, SearchParams(flat_rows_max=10, probes=2, block_rows=50))
    assert found.index[:, 0].tolist() == list(range(0, 400, 7))


def test_one_face_seen_too_often_for_a_cell_is_cut_up_and_still_found() -> None:
    vectors = np.repeat(unit_vectors(2, 2, 4), 100, axis=0)
    edges = knn_graph(vectors, 3, params=SearchParams(flat_rows_max=10, probes=1, block_rows=5), min_similarity=0.99)
    assert set(np.concatenate([edges.rows, edges.cols]).tolist()) == set(range(200))
    assert ((edges.rows < 100) == (edges.cols < 100)).all()

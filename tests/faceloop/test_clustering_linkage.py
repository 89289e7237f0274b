import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges
from faceloop.clustering.linkage import link
from faceloop.clustering.ties import NO_PAIRS, Ties


def unit_vectors(seed: int, n: int, dim: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((n, dim))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def single(vectors: NDArray[np.float32]) -> Clusters:
    return Clusters.of_nodes(vectors, np.ones(len(vectors), np.float32))


def every_pair(vectors: NDArray[np.float32]) -> Edges:
    rows, cols = np.triu_indices(len(vectors), 1)
    return Edges(rows=rows, cols=cols, similarity=np.einsum("ed,ed->e", vectors[rows], vectors[cols]))


def same_partition(left: NDArray[np.int64], right: NDArray[np.int64]) -> bool:
    return bool(((left[:, None] == left) == (right[:, None] == right)).all())


@given(seed=st.integers(0, 200), n=st.integers(2, 30), threshold=st.floats(-0.3, 0.9))
def test_merging_the_best_pair_first_equals_average_linkage(seed: int, n: int, threshold: float) -> None:
    vectors = unit_vectors(seed, n, 4)
    expected = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - threshold
    ).fit_predict(vectors)
    found = link(single(vectors), every_pair(vectors), Ties.free(n), min_similarity=threshold)
    assert same_partition(found, np.asarray(expected, np.int64))


def test_equal_similarities_go_to_the_smallest_number() -> None:
    corner = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    vectors = np.concatenate([corner.mean(axis=0, keepdims=True) * np.sqrt(3).astype(np.float32), corner])
    assert link(single(vectors), every_pair(vectors), Ties.free(4), min_similarity=0.5).tolist() == [0, 0, 1, 2]


def test_only_clusters_that_an_edge_joins_may_merge() -> None:
    vectors = np.ones((3, 1), np.float32)
    edge = Edges(rows=np.array([1]), cols=np.array([2]), similarity=np.ones(1, np.float32))
    assert link(single(vectors), edge, Ties.free(3), min_similarity=0.5).tolist() == [0, 1, 1]


def test_a_merged_cluster_inherits_the_cannot_links_of_its_parts() -> None:
    vectors = np.array([[1, 0], [0.999, 0.0447], [0.98, 0.199]], np.float32)
    apart = np.array([[0, 2]], np.int64)
    assert link(
        single(vectors), every_pair(vectors), Ties(group_of=np.arange(3), cannot_link=apart), min_similarity=0.5
    ).tolist() == [0, 0, 1]


def test_weights_decide_the_mean() -> None:
    heavy_left = Clusters.of_nodes(np.array([[1, 0], [0, 1]], np.float32), np.array([3, 1], np.float32))
    joined = heavy_left.gathered(np.zeros(2, np.int64), 1)
    assert joined.means() == pytest.approx(np.array([[0.75, 0.25]]))


def test_hubness_is_taken_off_both_ends() -> None:
    pair = single(np.ones((2, 1), np.float32)).with_hubness(np.array([0.25, 0.5], np.float32))
    assert pair.similarity(np.array([0]), np.array([1])) == pytest.approx([0.25])


@given(seed=st.integers(0, 200), n=st.integers(2, 20), forbidden=st.integers(1, 12))
def test_no_forbidden_pair_ever_shares_a_cluster(seed: int, n: int, forbidden: int) -> None:
    rng = np.random.default_rng(seed)
    apart = rng.integers(0, n, (forbidden, 2))
    apart = apart[apart[:, 0] != apart[:, 1]]
    vectors = unit_vectors(seed, n, 2)
    found = link(single(vectors), every_pair(vectors), Ties.between(NO_PAIRS, apart, n), min_similarity=-0.5)
    assert (found[apart[:, 0]] != found[apart[:, 1]]).all()

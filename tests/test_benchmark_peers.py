"""The peers of the clustering benchmark do what their names say; the made-up faces are what they promise."""

import importlib
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> ModuleType:
    monkeypatch.syspath_prepend(pytestconfig.rootpath)
    return importlib.import_module("benchmarks.peers")


@pytest.fixture
def synthetic(monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> ModuleType:
    monkeypatch.syspath_prepend(pytestconfig.rootpath)
    return importlib.import_module("benchmarks.synthetic")


def _people(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Six people of ten faces on orthogonal axes, and their numbers."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(6), 10)
    vectors = np.eye(16, dtype=np.float32)[person] + rng.normal(0, 0.08, (60, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), person


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("connected_components", (0.6,)),
        ("knn_dbscan", (0.6, 3)),
        ("chinese_whispers", (0.6, 0)),
        ("immich", (0.6, 3)),
    ],
)
def test_every_graph_peer_finds_people_that_lie_far_apart(
    peers: ModuleType, method: str, settings: tuple[float, ...]
) -> None:
    vectors, person = _people()
    labels = getattr(peers, method)(peers.knn_of(vectors, 12), *settings)
    assert adjusted_rand_score(person, labels) == 1


@pytest.mark.parametrize("min_samples", [2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_dbscan_on_the_graph_of_all_neighbours_has_the_cores_of_scikit_learns(
    peers: ModuleType, seed: int, min_samples: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(80, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ours = peers.knn_dbscan(peers.knn_of(vectors, 79), 0.94, min_samples)
    model = DBSCAN(eps=0.06, min_samples=min_samples, metric="precomputed")
    theirs = model.fit_predict(np.clip(1 - vectors @ vectors.T, 0, 2).astype(np.float64))
    cores = model.core_sample_indices_
    assert len(cores) > 10
    assert adjusted_rand_score(theirs[cores], ours[cores]) == 1
    assert np.array_equal(ours == -1, theirs == -1)  # border faces may choose among their cores


def test_neighbours_leave_out_the_face_itself_even_among_copies(peers: ModuleType) -> None:
    vectors = np.tile(np.eye(4, dtype=np.float32)[0], (6, 1))
    graph = peers.knn_of(vectors, 3)
    assert graph.index.shape == (6, 3)
    assert not (graph.index == np.arange(6)[:, None]).any()


def test_immichs_rule_defers_a_face_with_few_matches_and_leaves_a_lone_one_without_a_person(peers: ModuleType) -> None:
    vectors = np.array([[1, 0, 0], [0.95, 0.3, 0], [1, 0.02, 0], [1, -0.02, 0], [0, 0, 1]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = peers.immich(peers.knn_of(vectors, 4), 0.9, 4)
    assert labels.tolist() == [0, 0, 0, 0, -1]
    assert peers.immich(peers.knn_of(vectors, 4), 0.9, 5).tolist() == [-1] * 5  # nobody is a core


def test_infomap_and_other_foreign_peers_get_each_link_once(peers: ModuleType) -> None:
    vectors, _ = _people()
    links = peers.links_of(peers.knn_of(vectors, 5), 0.5)
    assert (links.rows < links.cols).all()
    assert len(np.unique(links.rows * 60 + links.cols)) == len(links.rows)
    cosines = np.einsum("ed,ed->e", vectors[links.rows], vectors[links.cols])
    np.testing.assert_allclose(links.weights, cosines, atol=1e-5)


@pytest.mark.parametrize("recipe", ["footage", "photos"])
def test_made_up_faces_are_unit_vectors_and_the_same_for_the_same_seed(synthetic: ModuleType, recipe: str) -> None:
    chosen = synthetic.RECIPES[recipe]
    faces, again = (synthetic.synthetic_faces(3000, 32, seed=7, recipe=chosen) for _ in range(2))
    assert len(faces.identity) == 3000
    np.testing.assert_allclose(np.linalg.norm(faces.vectors, axis=1), 1, atol=1e-5)
    for column in ("vectors", "identity", "quality", "subset"):
        assert np.array_equal(getattr(faces, column), getattr(again, column))
    other = synthetic.synthetic_faces(3000, 32, seed=8, recipe=chosen)
    assert not np.array_equal(faces.vectors, other.vectors)


def test_made_up_faces_resemble_their_person_and_are_in_few_subsets(synthetic: ModuleType) -> None:
    faces = synthetic.synthetic_faces(20_000, 64)
    order = np.argsort(faces.identity, kind="stable")
    left, right = order[:-1], order[1:]
    is_same = faces.identity[left] == faces.identity[right]
    genuine = np.einsum("ed,ed->e", faces.vectors[left], faces.vectors[right])[is_same].mean()
    strangers = np.einsum("ed,ed->e", faces.vectors[:-1], faces.vectors[1:]).mean()
    assert genuine > strangers + 0.3
    big = np.bincount(faces.identity)[:1000].argmax()
    assert len(np.unique(faces.subset)) == 20
    assert len(np.unique(faces.subset[faces.identity == big])) <= synthetic.SUBSETS_MAX


def test_the_quality_score_of_made_up_faces_errs_as_often_as_it_says(synthetic: ModuleType) -> None:
    rng = np.random.default_rng(0)
    is_low = np.arange(40_000) < 20_000
    quality = synthetic._quality(is_low, np.full(40_000, 0.8), rng, synthetic.FOOTAGE)
    is_condemned = quality < synthetic.QUALITY_FLOOR
    assert is_condemned[is_low].mean() == pytest.approx(synthetic.FOOTAGE.quality_recall, abs=0.01)
    assert is_condemned[~is_low].mean() == pytest.approx(synthetic.FOOTAGE.quality_false_alarm, abs=0.01)

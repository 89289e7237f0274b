from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import Edges
from faceloop.clustering.linkage import link
from faceloop.clustering.ties import NO_PAIRS, Ties, numbered_by_first


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


def labels_after(
    angles: Sequence[float], must: NDArray[np.int64], cannot: NDArray[np.int64], threshold: float
) -> tuple[list[int], list[int]]:
    """Final labels and sub-centres of unit vectors at these angles (degrees), every pair a candidate."""
    at = np.deg2rad(np.array(angles))
    vectors = np.stack([np.cos(at), np.sin(at)], axis=1).astype(np.float32)
    return linked(vectors, must, cannot, threshold)


def linked(
    vectors: NDArray[np.float32], must: NDArray[np.int64], cannot: NDArray[np.int64], threshold: float
) -> tuple[list[int], list[int]]:
    n = len(vectors)
    rows, cols = np.triu_indices(n, 1)
    edges = Edges(rows=rows, cols=cols, similarity=np.einsum("ed,ed->e", vectors[rows], vectors[cols]))
    ties = Ties.between(must, cannot, n)
    of_cluster = link(Clusters.of_nodes(vectors, np.ones(n, np.float32)), edges, ties, min_similarity=threshold)
    return ties.after(of_cluster).group_of[of_cluster].tolist(), of_cluster.tolist()


def test_one_word_unites_the_clusters_that_form_around_both_faces() -> None:
    young_and_old = [0, 2, 4, 120, 122, 124]
    labels, subcentres = labels_after(young_and_old, pairs((0, 5)), NO_PAIRS, 0.9)
    assert labels == [0] * 6
    assert subcentres == [0, 0, 0, 1, 1, 1]


def test_a_tie_does_not_dilute_the_means_that_linkage_compares() -> None:
    # One mean of 0° and 120° points to 60° and would take the stranger there before either of its own kind.
    labels, _ = labels_after([0, 120, 60, 10], pairs((0, 1)), NO_PAIRS, 0.9)
    assert labels == [0, 0, 1, 0]


def test_different_keeps_whole_groups_apart_and_the_better_match_wins() -> None:
    # 0 and 1 are tied, 1 and 2 are different: 2 sits beside 0 and still must not join its group.
    labels, _ = labels_after([0, 120, 1, 4], pairs((0, 1)), pairs((1, 2)), 0.9)
    assert labels[2] != labels[0] == labels[1]
    assert labels[3] == labels[2]


def test_a_group_grows_forbidden_pairs_through_every_one_of_its_parts() -> None:
    # 3 joins 2 first. Then 2's group holds what 0 may not meet, far away as it is.
    labels, _ = labels_after([0, 8, 9, 200], pairs((2, 3)), pairs((0, 3)), 0.9)
    assert labels == [0, 1, 1, 1]


def test_sub_centres_of_one_group_become_one_where_they_look_alike() -> None:
    labels, subcentres = labels_after([0, 1, 90], pairs((0, 2), (1, 2)), NO_PAIRS, 0.9)
    assert labels == [0, 0, 0]
    assert subcentres == [0, 0, 1]


def test_ties_among_kept_clusters_are_renumbered_by_first_cluster() -> None:
    ties = Ties.between(pairs((1, 3)), pairs((0, 1), (2, 3)), 5).among(np.array([False, True, True, True, True]))
    assert ties.group_of.tolist() == [0, 1, 0, 2]
    assert ties.cannot_link.tolist() == [[0, 1]]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_numbers_follow_first_appearance(names: list[int]) -> None:
    seen: list[int] = []
    for name in names:
        if name not in seen:
            seen.append(name)
    assert numbered_by_first(np.array(names)).tolist() == [seen.index(name) for name in names]


@given(seed=st.integers(0, 10_000), n=st.integers(2, 24), words=st.integers(0, 30), threshold=st.floats(-1, 0.9))
def test_whatever_can_be_satisfied_is(seed: int, n: int, words: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, n)
    said = rng.integers(0, n, (words, 2))
    is_same = truth[said[:, 0]] == truth[said[:, 1]]
    vectors = rng.standard_normal((n, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found, _ = linked(vectors, said[is_same], said[~is_same], threshold)
    labels = np.array(found)
    same, different = said[is_same], said[~is_same]
    assert (labels[same[:, 0]] == labels[same[:, 1]]).all()
    assert (labels[different[:, 0]] != labels[different[:, 1]]).all()


@given(seed=st.integers(0, 2_000), n=st.integers(2, 16), words=st.integers(0, 12))
def test_linkage_is_the_greedy_one_spelled_out(seed: int, n: int, words: int) -> None:
    """Against the definition: again and again the most similar allowed pair, all averages worked out anew."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    said = rng.integers(0, n, (words, 2))
    is_same = truth[said[:, 0]] == truth[said[:, 1]]
    vectors = rng.standard_normal((n, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    ties = Ties.between(said[is_same], said[~is_same], n)
    parts = {row: [row] for row in range(n)}
    label = {row: int(ties.group_of[row]) for row in range(n)}  # of each part
    forbidden = {frozenset(pair) for pair in ties.cannot_link.tolist()}
    while True:
        open_pairs = [
            (np.mean(exact[np.ix_(parts[a], parts[b])]), a, b)
            for a in parts
            for b in parts
            if a < b and frozenset((label[a], label[b])) not in forbidden
        ]
        best = max(open_pairs, default=None, key=lambda pair: pair[0])
        if best is None or best[0] < 0.2:
            break
        _, a, b = best
        kept, gone = label[a], label[b]
        parts[a] += parts.pop(b)
        label = {part: kept if name == gone else name for part, name in label.items() if part in parts}
        forbidden = {frozenset(kept if name == gone else name for name in pair) for pair in forbidden}
    expected = np.empty(n, np.int64)
    for part, rows in parts.items():
        expected[rows] = label[part]
    found, _ = linked(vectors, said[is_same], said[~is_same], 0.2)
    assert found == numbered_by_first(expected).tolist()

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.grouping import best_rows, group_medians
from faceloop.clustering.halves import coherence, halve
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.proposals import ProposalParams, propose_merges, propose_splits
from facestore.errors import ConfigError, DataError

PARAMS = ProposalParams(
    merge_similarity=0.25,
    split_similarity=0.4,
    min_half_nodes=2,
    neighbours=4,
    limit=100,
    search=SearchParams(flat_rows_max=10_000, probes=8, block_rows=512),
)


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


def clustered(
    vectors: NDArray[Any],
    labels: list[int],
    *,
    quality: list[float] | None = None,
    must_link: NDArray[np.int64] | None = None,
    cannot_link: NDArray[np.int64] | None = None,
) -> Clustered:
    n = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Clustered(
        nodes=Nodes(
            node_ids=tuple(f"node-{row:03d}" for row in range(n)),
            vectors=unit.astype(np.float32),
            weights=np.ones(n, np.float32),
            quality=np.array(quality if quality else [0.5] * n, np.float32),
            subset=np.zeros(n, np.int32),
        ),
        labels=np.array(labels, np.int64),
        hubness=np.zeros(n, np.float32),
        faces=np.arange(1, n + 1, dtype=np.int64),
        constraints=Constraints(
            must_link=pairs() if must_link is None else must_link,
            cannot_link=pairs() if cannot_link is None else cannot_link,
        ),
    )


def turned(given: Clustered, order: NDArray[np.int64]) -> Clustered:
    return Clustered(
        nodes=given.nodes.at(order),
        labels=given.labels[order],
        hubness=given.hubness[order],
        faces=given.faces[order],
        constraints=given.constraints,
    )


def at_degrees(*degrees: float) -> NDArray[np.float64]:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_a_person_in_two_clusters_is_proposed_for_a_merge_by_the_best_shots() -> None:
    given_clusters = clustered(at_degrees(0, 0, 60, 60, 180), [0, 0, 1, 1, 2], quality=[0.2, 0.9, 0.8, 0.1, 1])
    (merge,) = propose_merges(given_clusters, PARAMS)
    assert (merge.kind, merge.reason, merge.first_label, merge.second_label) == ("merge", "similar", 0, 1)
    assert (merge.first_row, merge.second_row) == (1, 2)
    assert merge.score == pytest.approx(0.5)
    assert merge.faces == 3  # of the smaller side: nodes 0 and 1 hold 1 and 2 faces


def test_clusters_that_people_keep_apart_are_not_proposed() -> None:
    apart = clustered(at_degrees(0, 0, 60, 60), [0, 0, 1, 1], cannot_link=pairs((3, 0)))
    assert propose_merges(apart, PARAMS) == []


def test_merges_come_most_similar_first_and_no_more_than_the_limit() -> None:
    three = clustered(at_degrees(0, 50, 110), [0, 1, 2])
    found = propose_merges(three, PARAMS)
    assert [(merge.first_label, merge.second_label) for merge in found] == [(0, 1), (1, 2)]
    assert propose_merges(three, replace(PARAMS, limit=1)) == found[:1]


def test_hubness_is_taken_off_a_merge() -> None:
    plain = clustered(at_degrees(0, 60), [0, 1])
    hubs = replace(plain, hubness=np.array([0.1, 0.2], np.float32))
    assert propose_merges(hubs, replace(PARAMS, merge_similarity=0.1))[0].score == pytest.approx(0.2, abs=1e-6)


def test_left_out_nodes_and_missing_labels_are_no_clusters() -> None:
    assert propose_merges(clustered(at_degrees(0, 10, 20), [-1, 3, -1]), PARAMS) == []
    assert propose_merges(clustered(np.empty((0, 2)), []), PARAMS) == []
    assert propose_splits(clustered(np.empty((0, 2)), []), PARAMS) == []


def two_people_in_one(**given_columns: Any) -> Clustered:
    vectors = np.array([[1, 0, 0.1], [1, 0.1, 0], [1, 0, 0], [0, 1, 0.1], [0.1, 1, 0]])
    return clustered(vectors, [0, 0, 0, 0, 0], **given_columns)


def test_two_people_in_one_cluster_are_proposed_for_a_split_by_the_best_shot_of_each() -> None:
    (split,) = propose_splits(two_people_in_one(quality=[0.1, 0.9, 0.2, 0.8, 0.3]), PARAMS)
    assert (split.kind, split.reason, split.first_label, split.second_label) == ("split", "two_centres", 0, 0)
    assert (split.first_row, split.second_row) == (3, 1)  # the half with more faces first
    assert split.faces == 1 + 2 + 3


def test_nodes_that_people_tied_together_are_not_torn_apart() -> None:
    assert propose_splits(two_people_in_one(must_link=pairs((0, 3), (1, 4))), PARAMS) == []


def test_one_odd_node_is_no_second_person() -> None:
    vectors = np.array([[1, 0, 0.1], [1, 0.1, 0], [1, 0, 0], [0, 1, 0.1]])
    assert propose_splits(clustered(vectors, [0] * 4), PARAMS) == []


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 24), count=st.integers(1, 5))
def test_coherence_and_similarity_of_halves_are_the_means_over_pairs(seed: int, n: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count, n)
    given_clusters = replace(
        clustered(rng.standard_normal((n, 4)), labels.tolist()),
        hubness=rng.normal(0, 0.1, n).astype(np.float32),
    )
    leaves = given_clusters.leaves()
    similarity = leaves.means() @ leaves.means().T - given_clusters.hubness[:, None] - given_clusters.hubness
    halves = halve(leaves, given_clusters.labels, count, np.arange(n))
    for label in range(count):
        rows = np.flatnonzero(labels == label)
        block = similarity[np.ix_(rows, rows)]
        expected = block[~np.eye(len(rows), dtype=bool)].mean() if len(rows) > 1 else np.nan
        assert coherence(leaves, given_clusters.labels, count)[label] == pytest.approx(expected, abs=1e-4, nan_ok=True)
        first = np.flatnonzero(halves.of_node == 2 * label)
        second = np.flatnonzero(halves.of_node == 2 * label + 1)
        assert sorted([*first, *second]) == rows.tolist()
        between = similarity[np.ix_(first, second)].mean() if len(first) and len(second) else np.nan
        assert halves.between[label] == pytest.approx(between, abs=1e-4, nan_ok=True)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_proposals_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given_clusters = clustered(rng.standard_normal((30, 3)), rng.integers(-1, 6, 30).tolist())
    order = rng.permutation(30)
    params = replace(PARAMS, merge_similarity=-0.5, split_similarity=0.5)
    for propose in (propose_merges, propose_splits):
        named = [
            (one.first_label, one.second_label, int(order[one.first_row]), int(order[one.second_row]), one.score)
            for one in propose(turned(given_clusters, order), params)
        ]
        assert named == [
            (one.first_label, one.second_label, one.first_row, one.second_row, one.score)
            for one in propose(given_clusters, params)
        ]


def test_the_best_row_and_the_median_of_groups() -> None:
    values, group = np.array([1.0, 3.0, 3.0, 2.0, 9.0]), np.array([0, 0, 0, 2, -1])
    assert best_rows(values, group, 3).tolist() == [1, -1, 3]
    assert group_medians(values, group, 3).tolist() == pytest.approx([3.0, np.nan, 2.0], nan_ok=True)
    assert group_medians(np.array([1.0, 2.0]), np.array([0, 0]), 1).tolist() == [1.5]


def test_params_and_columns_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="similarities of proposals"):
        replace(PARAMS, merge_similarity=1.5)
    with pytest.raises(ConfigError, match="at least 1"):
        replace(PARAMS, neighbours=0)
    with pytest.raises(DataError, match="one entry a node"):
        replace(clustered(at_degrees(0, 1), [0, 0]), labels=np.zeros(1, np.int64))

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.earlier import Earlier, id_order, needs_full
from faceloop.clustering.incremental import Touched, partition_incremental
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition, partition
from facestore.errors import DataError

PARAMS = PartitionParams(
    neighbours=16,
    micro_similarity=0.75,
    within_similarity=0.5,
    across_similarity=0.5,
    attach_similarity=0.3,
    attach_margin=0.1,
    min_quality=0.3,
    full_quality=0.6,
    quality_toll=0.0,
    hubness_share=1.0,
    hubness_similarity=0.5,
    hubness_skipped=1,
    hubness_cohort=5,
    hubness_prior=2,
    confidence_scale=0.05,
    search=SearchParams(flat_rows_max=10_000, probes=8, block_rows=512),
)
PLAIN = replace(PARAMS, hubness_share=0.0)


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


FREE = Constraints(must_link=pairs(), cannot_link=pairs())


def nodes_of(vectors: NDArray[Any], *, quality: float = 1.0, prefix: str = "node") -> Nodes:
    n = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Nodes(
        node_ids=tuple(f"{prefix}-{row:03d}" for row in range(n)),
        vectors=unit.astype(np.float32),
        weights=np.ones(n, np.float32),
        quality=np.full(n, quality, np.float32),
        subset=np.zeros(n, np.int32),
    )


def faces_on_axes(people: int, faces: int, *, seed: int = 0) -> Nodes:
    """`faces` noisy nodes around each of `people` orthogonal axes; node p × faces + f is person p."""
    axes = np.repeat(np.eye(people + 3)[:people], faces, axis=0)
    return nodes_of(axes + 0.05 * np.random.default_rng(seed).standard_normal(axes.shape))


def rows_of(*rows: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64)


def remembered(nodes: Nodes, outcome: Partition, constraints: Constraints = FREE) -> Earlier:
    return Earlier(
        node_ids=nodes.node_ids,
        labels=outcome.labels,
        subcentres=outcome.subcentres,
        confidence=outcome.confidence,
        hubness=outcome.hubness,
        drop_reasons=outcome.drop_reasons,
        constraints=constraints,
        params_key="params",
        added_since_full=0,
    )


def first_run(nodes: Nodes, constraints: Constraints = FREE, params: PartitionParams = PARAMS) -> Earlier:
    outcome = partition(nodes=nodes, constraints=constraints, params=params)
    return remembered(nodes, outcome, constraints)


def second_run(
    nodes: Nodes, earlier: Earlier, constraints: Constraints = FREE, params: PartitionParams = PARAMS
) -> tuple[Partition, Touched]:
    return partition_incremental(nodes=nodes, constraints=constraints, params=params, earlier=earlier)


def same_partition(left: NDArray[np.int64], right: NDArray[np.int64]) -> bool:
    return bool(((left[:, None] == left) == (right[:, None] == right)).all())


def test_without_anything_new_the_outcome_is_the_earlier_one() -> None:
    nodes = faces_on_axes(4, 5)
    tied = Constraints(must_link=pairs((0, 5)), cannot_link=pairs((10, 15)))
    earlier = first_run(nodes, tied)
    outcome, touched = second_run(nodes, earlier, tied)
    assert outcome.labels.tolist() == earlier.labels.tolist()
    assert outcome.subcentres.tolist() == earlier.subcentres.tolist()
    assert (outcome.confidence == earlier.confidence).all()
    assert (outcome.hubness == earlier.hubness).all()
    assert (touched.searched, touched.clusters_looked_at, touched.added_since_full) == (0, 0, 0)


def test_new_faces_join_their_people_and_a_stranger_stays_alone() -> None:
    nodes = faces_on_axes(3, 6)
    stranger = nodes_of(np.eye(6)[[4]], prefix="stranger")
    nodes = replace(
        nodes,
        node_ids=nodes.node_ids + stranger.node_ids,
        vectors=np.concatenate([nodes.vectors, stranger.vectors]),
        weights=np.ones(19, np.float32),
        quality=np.ones(19, np.float32),
        subset=np.zeros(19, np.int32),
    )
    known = nodes.at(rows_of(1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16))
    outcome, touched = second_run(nodes, first_run(known))
    assert outcome.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3]
    assert (touched.new_nodes, touched.clusters_grown, touched.clusters_kept) == (4, 3, 0)
    assert (outcome.confidence > 0.9).all()


def test_a_cluster_far_from_everything_new_keeps_its_numbers_to_the_bit() -> None:
    nodes = faces_on_axes(3, 4)
    known = rows_of(0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11)
    earlier = first_run(nodes.at(known))
    outcome, touched = second_run(nodes, earlier)
    far = known[known >= 4]
    assert (outcome.confidence[far] == earlier.confidence[known >= 4]).all()
    assert (outcome.hubness[far] == earlier.hubness[known >= 4]).all()
    assert (touched.clusters_looked_at, touched.clusters_kept) == (1, 2)


def test_two_earlier_clusters_merge_when_a_new_face_bridges_them() -> None:
    degrees = np.deg2rad([0.0, 62.0, 31.0])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    params = replace(PLAIN, attach_similarity=1.0)
    nodes = nodes_of(vectors)
    earlier = first_run(nodes.at(rows_of(0, 1)), params=params)
    assert earlier.labels.tolist() == [0, 1]
    outcome, _ = second_run(nodes, earlier, params=params)
    assert (
        outcome.labels.tolist() == partition(nodes=nodes, constraints=FREE, params=params).labels.tolist() == [0, 0, 0]
    )


def test_a_cluster_that_lost_a_node_is_dissolved_and_found_again() -> None:
    nodes = faces_on_axes(2, 4)
    outcome, touched = second_run(nodes.at(rows_of(0, 1, 2, 4, 5, 6, 7)), first_run(nodes))
    assert outcome.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert (touched.dissolved_nodes, touched.new_nodes) == (3, 0)


def test_a_node_held_loosely_goes_to_its_own_person_when_that_one_comes() -> None:
    degrees = np.deg2rad([0.0, 0.0, 62.0, 90.0, 90.0])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    nodes = nodes_of(vectors)
    params = replace(PLAIN, across_similarity=0.6, attach_similarity=0.4)
    earlier = first_run(nodes.at(rows_of(0, 1, 2)), params=params)
    assert earlier.labels.tolist() == [0, 0, 0]  # attached, for want of anybody else
    outcome, _ = second_run(nodes, earlier, params=params)
    assert outcome.labels.tolist() == [0, 0, 1, 1, 1]


def test_one_same_unites_two_clusters_and_taking_it_back_restores_both() -> None:
    nodes = faces_on_axes(3, 4)
    before = first_run(nodes)
    tied = Constraints(must_link=pairs((1, 6)), cannot_link=pairs())
    united, _ = second_run(nodes, before, tied)
    assert united.labels.tolist() == [0] * 8 + [1] * 4
    parted, touched = second_run(nodes, remembered(nodes, united, tied))
    assert parted.labels.tolist() == before.labels.tolist()
    assert touched.dissolved_nodes == 0


def test_one_different_splits_a_cluster_and_taking_it_back_restores_it() -> None:
    nodes = faces_on_axes(2, 4)
    before = first_run(nodes)
    apart = Constraints(must_link=pairs(), cannot_link=pairs((0, 2)))
    split, touched = second_run(nodes, before, apart)
    assert split.labels[0] != split.labels[2]
    assert (touched.dissolved_nodes, touched.clusters_kept) == (4, 1)
    whole, _ = second_run(nodes, remembered(nodes, split, apart))
    assert whole.labels.tolist() == before.labels.tolist()


def test_a_poor_face_stays_out_until_a_person_vouches_for_it() -> None:
    nodes = replace(faces_on_axes(1, 3), quality=np.array([1, 1, 0.1], np.float32))
    earlier = first_run(nodes)
    assert second_run(nodes, earlier)[0].drop_reasons == (None, None, "low_quality")
    tied = Constraints(must_link=pairs((0, 2)), cannot_link=pairs())
    assert second_run(nodes, earlier, tied)[0].labels.tolist() == [0, 0, 0]


def test_a_face_that_the_earlier_run_left_out_stays_out_for_the_same_reason() -> None:
    nodes = faces_on_axes(1, 3)
    earlier = first_run(nodes)
    left_out = replace(
        earlier,
        labels=np.array([0, 0, -1], np.int64),
        subcentres=np.array([0, 0, -1], np.int64),
        drop_reasons=(None, None, "low_quality"),
    )
    outcome, _ = second_run(nodes, left_out)
    assert (outcome.labels.tolist(), outcome.drop_reasons[2]) == ([0, 0, -1], "low_quality")


def test_contradictory_decisions_are_refused() -> None:
    nodes = faces_on_axes(1, 3)
    both = Constraints(must_link=pairs((0, 1)), cannot_link=pairs((1, 0)))
    with pytest.raises(DataError, match="retract"):
        second_run(nodes, first_run(nodes), both)


def test_a_first_run_may_be_empty_and_so_may_a_later_one() -> None:
    nobody = nodes_of(np.empty((0, 4)))
    someone = nodes_of(np.eye(4)[:2])
    assert second_run(someone, first_run(nobody))[0].labels.tolist() == [0, 1]
    assert second_run(nobody, first_run(someone))[0].labels.tolist() == []


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), known=st.integers(0, 30), wishes=st.integers(0, 12))
def test_no_constraint_is_ever_violated_and_the_order_of_rows_does_not_matter(
    seed: int, known: int, wishes: int
) -> None:
    rng = np.random.default_rng(seed)
    nodes = nodes_of(rng.standard_normal((30, 3)))
    person = rng.integers(0, 4, 30)  # constraints that agree with some truth can be satisfied
    params = replace(PARAMS, within_similarity=0.2, across_similarity=0.1, hubness_similarity=0.1)
    was, now = random_wishes(rng, person, wishes), random_wishes(rng, person, wishes)
    kept = np.sort(rng.permutation(30)[:known])
    place = np.full(30, -1, np.int64)
    place[kept] = np.arange(known)
    old = Constraints(must_link=among(place, was.must_link), cannot_link=among(place, was.cannot_link))
    earlier = first_run(nodes.at(kept), old, params)
    outcome, _ = second_run(nodes, earlier, now, params)
    assert (outcome.labels >= 0).all()
    assert (outcome.labels[now.must_link[:, 0]] == outcome.labels[now.must_link[:, 1]]).all()
    assert (outcome.labels[now.cannot_link[:, 0]] != outcome.labels[now.cannot_link[:, 1]]).all()
    shuffled = rng.permutation(30)
    rank = np.argsort(shuffled)
    turned = Constraints(must_link=rank[now.must_link][::-1], cannot_link=rank[now.cannot_link][:, ::-1])
    again, _ = second_run(nodes.at(shuffled), earlier, turned, params)
    assert again.labels.tolist() == outcome.labels[shuffled].tolist()
    assert again.confidence.tolist() == outcome.confidence[shuffled].tolist()


def random_wishes(rng: np.random.Generator, person: NDArray[np.int64], count: int) -> Constraints:
    drawn = rng.integers(0, len(person), (count, 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    is_same = person[drawn[:, 0]] == person[drawn[:, 1]]
    return Constraints(must_link=drawn[is_same], cannot_link=drawn[~is_same])


def among(place: NDArray[np.int64], wishes: NDArray[np.int64]) -> NDArray[np.int64]:
    found = place[wishes]
    return found[(found >= 0).all(axis=1)].reshape(-1, 2)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), known=st.integers(1, 39))
def test_people_far_apart_are_found_whatever_part_of_them_came_first(seed: int, known: int) -> None:
    nodes = faces_on_axes(5, 8, seed=seed)
    kept = np.sort(np.random.default_rng(seed).permutation(40)[:known])
    outcome, _ = second_run(nodes, first_run(nodes.at(kept)))
    assert same_partition(outcome.labels, np.repeat(np.arange(5), 8))


def test_a_full_run_is_asked_for_with_its_reason() -> None:
    nodes = faces_on_axes(2, 10)
    earlier = first_run(nodes.at(np.arange(18, dtype=np.int64)))
    assert needs_full(None, nodes, params_key="params", full_above_share=0.2) == "no_earlier_run"
    assert needs_full(earlier, nodes, params_key="others", full_above_share=0.2) == "other_params"
    assert needs_full(earlier, nodes, params_key="params", full_above_share=0.05) == "many_new_nodes"
    assert needs_full(earlier, nodes, params_key="params", full_above_share=0.1) is None
    drifted = replace(earlier, added_since_full=1)
    assert needs_full(drifted, nodes, params_key="params", full_above_share=0.1) == "many_new_nodes"


def test_an_earlier_run_whose_columns_disagree_is_refused() -> None:
    earlier = first_run(faces_on_axes(1, 3))
    with pytest.raises(DataError, match="run cluster in full"):
        replace(earlier, labels=earlier.labels[:2])
    with pytest.raises(DataError, match="subcentre disagree"):
        replace(earlier, labels=np.array([0, 0, -1], np.int64))


@given(
    st.lists(st.text("abcd", min_size=1, max_size=3), unique=True, max_size=20),
    st.lists(st.text("abcd", min_size=1, max_size=3), unique=True, max_size=20),
    st.booleans(),
)
def test_rows_are_in_order_of_their_ids_whatever_was_there_before(
    ids: list[str], known: list[str], is_sorted: bool
) -> None:
    earlier_ids = sorted(known) if is_sorted else known
    row_of = {name: row for row, name in enumerate(earlier_ids)}
    row = np.array([row_of.get(name, -1) for name in ids], np.int64)
    order = id_order(tuple(ids), row, tuple(earlier_ids))
    assert [ids[at] for at in order.tolist()] == sorted(ids)

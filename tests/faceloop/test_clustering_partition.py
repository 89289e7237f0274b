from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.hubness import hubness_to_strangers
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import partition
from faceloop.clustering.ties import Ties
from facestore.errors import ConfigError, DataError

SEARCH = SearchParams(flat_rows_max=10_000, probes=8, block_rows=512)
PARAMS = PartitionParams(
    neighbours=16,
    micro_similarity=0.8,
    within_similarity=0.5,
    across_similarity=0.5,
    attach_similarity=0.3,
    attach_margin=0.1,
    min_quality=0.3,
    full_quality=0.5,
    quality_toll=0.0,
    hubness_share=1.0,
    hubness_similarity=0.5,
    hubness_skipped=1,
    hubness_cohort=5,
    hubness_prior=2,
    confidence_scale=0.05,
    search=SEARCH,
)


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


FREE = Constraints(must_link=pairs(), cannot_link=pairs())


def nodes_of(vectors: NDArray[Any], **given_columns: NDArray[Any]) -> Nodes:
    n = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = Nodes(
        node_ids=tuple(f"node-{row:03d}" for row in range(n)),
        vectors=unit.astype(np.float32),
        weights=np.ones(n, np.float32),
        quality=np.ones(n, np.float32),
        subset=np.zeros(n, np.int32),
    )
    return replace(plain, **given_columns)  # type: ignore[arg-type]


def faces_on_axes(people: int, faces: int, *, seed: int = 0) -> Nodes:
    """`faces` noisy nodes around each of `people` orthogonal axes; node p × faces + f is person p."""
    axes = np.repeat(np.eye(people + 3)[:people], faces, axis=0)
    return nodes_of(axes + 0.05 * np.random.default_rng(seed).standard_normal(axes.shape))


def test_three_people_on_orthogonal_axes_are_three_clusters() -> None:
    found = partition(nodes=faces_on_axes(3, 4), constraints=FREE, params=PARAMS)
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (found.confidence > 0.9).all()
    assert found.drop_reasons == (None,) * 12


def test_a_lone_face_keeps_a_label_of_its_own_and_is_sure_of_it() -> None:
    found = partition(nodes=nodes_of(np.eye(3)), constraints=FREE, params=PARAMS)
    assert found.labels.tolist() == [0, 1, 2]
    assert (found.confidence > 0.9).all()


def test_a_poor_face_is_left_out_with_its_reason() -> None:
    nodes = nodes_of(np.ones((3, 2)), quality=np.array([0.9, 0.1, 0.9], np.float32))
    found = partition(nodes=nodes, constraints=FREE, params=PARAMS)
    assert found.labels.tolist() == [0, -1, 0]
    assert found.drop_reasons == (None, "low_quality", None)
    assert found.confidence[1] == 0


def test_a_person_who_vouches_for_a_poor_face_is_heard() -> None:
    nodes = nodes_of(np.ones((2, 2)), quality=np.array([0.9, 0.1], np.float32))
    tied = Constraints(must_link=pairs((0, 1)), cannot_link=pairs())
    assert partition(nodes=nodes, constraints=tied, params=PARAMS).labels.tolist() == [0, 0]


def test_nothing_but_poor_faces_gives_no_cluster() -> None:
    nodes = nodes_of(np.eye(2), quality=np.zeros(2, np.float32))
    assert partition(nodes=nodes, constraints=FREE, params=PARAMS).labels.tolist() == [-1, -1]


def test_no_nodes_give_an_empty_partition() -> None:
    empty = nodes_of(np.empty((0, 4)))
    found = partition(nodes=empty, constraints=FREE, params=PARAMS)
    assert (found.labels.shape, found.drop_reasons) == ((0,), ())


def test_a_face_between_two_people_is_least_sure() -> None:
    between = np.array([[1.0, 0.0], [1.0, 0.02], [1.0, 0.9], [0.02, 1.0], [0.0, 1.0]])
    found = partition(nodes=nodes_of(between), constraints=FREE, params=replace(PARAMS, hubness_share=0))
    assert found.confidence.argmin() == 2


def test_faces_of_one_subset_join_before_a_closer_face_of_another() -> None:
    # b is nearer to c (another camera) than to a, but camera 0 is settled first: with a, b is too far from c.
    degrees = np.deg2rad([0.0, 50.0, 95.0])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    params = replace(PARAMS, within_similarity=0.6, across_similarity=0.6, attach_similarity=1, hubness_share=0)
    one_camera = nodes_of(vectors)
    two_cameras = nodes_of(vectors, subset=np.array([0, 0, 1], np.int32))
    assert partition(nodes=one_camera, constraints=FREE, params=params).labels.tolist() == [0, 1, 1]
    assert partition(nodes=two_cameras, constraints=FREE, params=params).labels.tolist() == [0, 0, 1]


def test_one_person_in_two_subsets_is_joined_across_them() -> None:
    nodes = replace(faces_on_axes(2, 4), subset=np.array([0, 1] * 4, np.int32))
    labels = partition(nodes=nodes, constraints=FREE, params=PARAMS).labels
    assert labels.tolist() == [0] * 4 + [1] * 4


def lone_face_at(degrees: float, other_degrees: float) -> list[int]:
    """Labels of two faces at 0°, two at `other_degrees` and one at `degrees`, all in one plane."""
    angles = np.deg2rad([0.0, 1.0, other_degrees, other_degrees + 1.0, degrees])
    nodes = nodes_of(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    params = replace(PARAMS, hubness_share=0, within_similarity=0.9, across_similarity=0.9)
    return [int(label) for label in partition(nodes=nodes, constraints=FREE, params=params).labels]


def test_a_lone_face_joins_the_cluster_that_clearly_fits_best() -> None:
    assert lone_face_at(-60, 180) == [0, 0, 1, 1, 0]


def test_a_lone_face_between_two_clusters_stays_alone() -> None:
    assert lone_face_at(45, 90) == [0, 0, 1, 1, 2]


def test_a_lone_face_far_from_everybody_stays_alone() -> None:
    assert lone_face_at(-80, 180) == [0, 0, 1, 1, 2]


def test_lone_faces_do_not_found_a_cluster_among_themselves_by_a_margin() -> None:
    angles = np.deg2rad([0.0, 60.0])
    nodes = nodes_of(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    params = replace(PARAMS, hubness_share=0, within_similarity=0.9, across_similarity=0.9)
    assert partition(nodes=nodes, constraints=FREE, params=params).labels.tolist() == [0, 1]


def test_two_lone_faces_kept_apart_do_not_both_join_the_same_cluster() -> None:
    angles = np.deg2rad([0.0, 1.0, 180.0, 181.0, -50.0, 55.0])
    nodes = nodes_of(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    params = replace(PARAMS, hubness_share=0, within_similarity=0.9, across_similarity=0.9)
    apart = Constraints(must_link=pairs(), cannot_link=pairs((4, 5)))
    together = partition(nodes=nodes, constraints=FREE, params=params).labels.tolist()
    assert together == [0, 0, 1, 1, 0, 0]
    assert partition(nodes=nodes, constraints=apart, params=params).labels.tolist() == [0, 0, 1, 1, 0, 2]


def test_a_face_that_resembles_everybody_has_the_largest_hubness() -> None:
    vectors = np.concatenate([np.eye(6), np.full((1, 6), 1 / np.sqrt(6))]).astype(np.float32)
    clusters = Clusters.of_nodes(vectors, np.ones(7, np.float32))
    found = hubness_to_strangers(
        clusters, np.arange(7), Ties.free(7), skipped=1, cohort=4, ceiling=0.5, prior=1, search=SEARCH
    )
    assert found.argmax() == 6
    assert found[:6] == pytest.approx(np.zeros(6), abs=1e-6)


def test_one_person_seen_often_is_no_stranger_to_himself() -> None:
    clusters = Clusters.of_nodes(np.ones((50, 1), np.float32), np.ones(50, np.float32))
    found = hubness_to_strangers(
        clusters, np.zeros(50, np.int64), Ties.free(1), skipped=0, cohort=20, ceiling=0.5, prior=1, search=SEARCH
    )
    assert (found == 0).all()


def test_hard_photos_of_one_person_do_not_count_as_strangers() -> None:
    hard = np.array([[0.6, 0.8]] * 9, np.float32)
    vectors = np.concatenate([np.array([[1, 0]], np.float32), hard])
    clusters = Clusters.of_nodes(vectors, np.ones(10, np.float32))
    apart = np.arange(10)
    found = hubness_to_strangers(
        clusters, apart, Ties.free(10), skipped=1, cohort=5, ceiling=0.5, prior=1, search=SEARCH
    )
    assert (found == 0).all()


def test_a_word_about_two_faces_unites_everything_around_them_and_keeps_two_subcentres() -> None:
    nodes = faces_on_axes(3, 4)
    tied = Constraints(must_link=pairs((1, 6)), cannot_link=pairs())
    found = partition(nodes=nodes, constraints=tied, params=PARAMS)
    assert found.labels.tolist() == [0] * 8 + [1] * 4
    assert found.subcentres.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_one_different_keeps_lookalikes_apart_as_whole_clusters() -> None:
    nodes = nodes_of(np.array([[1, 0], [1, 0.01], [1, 0.02], [1, 0.03]]))
    apart = Constraints(must_link=pairs((0, 1), (2, 3)), cannot_link=pairs((0, 3)))
    assert partition(nodes=nodes, constraints=apart, params=PARAMS).labels.tolist() == [0, 0, 1, 1]


def test_one_long_scene_is_not_the_whole_mean() -> None:
    # Eight faces at 20° bring the mean near enough to 45°, unless the thousand of one scene at 0° hold it back.
    angles = np.deg2rad([0.0, *[20.0] * 8, 45.0, 170.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    params = replace(PARAMS, within_similarity=0.75, across_similarity=0.75, attach_similarity=1, hubness_share=0)
    weights = np.array([1000, *[1] * 10], np.float32)
    labels = partition(nodes=nodes_of(vectors, weights=weights), constraints=FREE, params=params).labels
    assert labels.tolist() == [0] * 10 + [1]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("vectors", np.full((2, 2), 0.9, np.float32), "node-000 has a vector of norm"),
        ("vectors", np.full((2, 2), np.nan, np.float32), "node-000 has a vector of norm nan"),
        ("vectors", np.eye(2), "float64"),
        ("weights", np.zeros(2, np.float32), "weight"),
        ("quality", np.array([0.5, 1.5], np.float32), r"outside \[0, 1\]"),
        ("quality", np.zeros(3, np.float32), "lengths"),
        ("subset", np.array([-1, 0], np.int32), "negative"),
        ("node_ids", ("a", "a"), "repeat"),
    ],
)
def test_malformed_nodes_are_refused(column: str, value: NDArray[np.generic], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(nodes_of(np.eye(2)), **{column: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "value"), [("neighbours", 0), ("min_quality", 1.1), ("confidence_scale", 0)])
def test_a_number_out_of_range_names_its_key(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        replace(PARAMS, **{key: value})  # type: ignore[arg-type]


worlds = st.fixed_dictionaries({"seed": st.integers(0, 10_000), "n": st.integers(1, 24), "subsets": st.integers(1, 3)})


def random_world(seed: int, n: int, subsets: int) -> tuple[Nodes, Constraints]:
    """Vectors in 3-D with exact doubles among them, and constraints that some hidden truth satisfies."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(0, 4, n)
    vectors = rng.standard_normal((n, 3)).round(0 if seed % 3 == 0 else 3) + 0.01
    chosen = rng.integers(0, n, (n, 2))
    is_same = hidden[chosen[:, 0]] == hidden[chosen[:, 1]]
    nodes = nodes_of(
        vectors,
        quality=rng.random(n).astype(np.float32),
        weights=rng.uniform(0.5, 4, n).astype(np.float32),
        subset=rng.integers(0, subsets, n).astype(np.int32),
    )
    return nodes, Constraints(must_link=chosen[is_same][: n // 4], cannot_link=chosen[~is_same])


@given(worlds)
def test_what_people_said_holds(world: dict[str, int]) -> None:
    nodes, constraints = random_world(**world)
    labels = partition(nodes=nodes, constraints=constraints, params=PARAMS).labels
    must, cannot = constraints.must_link, constraints.cannot_link
    assert (labels[must[:, 0]] == labels[must[:, 1]]).all()
    is_labelled = (labels[cannot] >= 0).all(axis=1)
    assert (labels[cannot[:, 0]] != labels[cannot[:, 1]])[is_labelled].all()


@given(worlds)
def test_every_node_gets_a_label_or_a_reason(world: dict[str, int]) -> None:
    nodes, constraints = random_world(**world)
    found = partition(nodes=nodes, constraints=constraints, params=PARAMS)
    assert len(found.labels) == len(found.confidence) == len(found.drop_reasons) == world["n"]
    assert [label == -1 for label in found.labels] == [reason is not None for reason in found.drop_reasons]
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    used = np.unique(found.labels[found.labels >= 0])
    first_rows = [int(np.flatnonzero(found.labels == label)[0]) for label in used]
    assert used.tolist() == list(range(len(used)))
    assert first_rows == sorted(first_rows)
    assert ((found.subcentres == -1) == (found.labels == -1)).all()
    assert len(set(zip(found.subcentres.tolist(), found.labels.tolist(), strict=True))) == len(set(found.subcentres))
    assert (found.hubness[found.labels == -1] == 0).all()


@given(worlds)
def test_the_order_of_the_rows_does_not_matter(world: dict[str, int]) -> None:
    nodes, constraints = random_world(**world)
    order = np.random.default_rng(world["seed"] + 1).permutation(world["n"])
    place = np.argsort(order)
    shuffled = Constraints(
        must_link=place[constraints.must_link[::-1, ::-1]], cannot_link=place[constraints.cannot_link]
    )
    straight = partition(nodes=nodes, constraints=constraints, params=PARAMS)
    mixed = partition(nodes=nodes.at(order), constraints=shuffled, params=PARAMS)
    assert (mixed.labels == straight.labels[order]).all()
    assert (mixed.confidence == straight.confidence[order]).all()
    assert (mixed.hubness == straight.hubness[order]).all()
    assert (mixed.subcentres == straight.subcentres[order]).all()

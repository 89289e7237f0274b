"""Who stands behind a node: tracklets, faces of tracklets that were taken apart, crops that do not count twice."""

import numpy as np
import pytest

from faceloop.identity.roster import (
    FaceVectors,
    Roster,
    SeenFace,
    Templates,
    build_roster,
    opened_tracklets,
    same_picture_pairs,
)

AXES = np.eye(4, dtype=np.float32)


def _face(name: str, tracklet: str, pts_ms: int, *, quality: float = 0.5, has_crop: bool = True) -> SeenFace:
    return SeenFace(
        face_id=name, footage_id="clip", pts_ms=pts_ms, tracklet_id=tracklet, quality=quality, has_crop=has_crop
    )


FACES = [
    _face("a1", "ta", 0, quality=0.9),
    _face("a2", "ta", 100, has_crop=False),
    _face("a3", "ta", 200),
    _face("b1", "tb", 0),
]
TEMPLATES = Templates(
    tracklet_ids=("ta", "tb"),
    subsets=("gate", "hall"),
    vectors=AXES[[3, 2]],
    weights=np.array([1.4, 0.5], np.float32),
    quality=np.array([0.9, 0.5], np.float32),
)
VECTORS = FaceVectors(face_ids=("a1", "a3", "b1"), vectors=AXES[[0, 1, 2]])


def _roster(
    left_out: dict[str, str] | None = None,
    apart: set[str] | None = None,
    named: set[str] | None = None,
    repeats: set[str] | None = None,
) -> Roster:
    return build_roster(
        FACES, TEMPLATES, VECTORS, left_out=left_out or {}, apart=apart or set(), named=named or set(),
        repeats=repeats or set(),
    )  # fmt: skip


def test_a_node_is_a_tracklet_with_all_its_faces() -> None:
    roster = _roster()
    assert roster.nodes.node_ids == ("ta", "tb")
    assert roster.node_of_face == {"a1": 0, "a2": 0, "a3": 0, "b1": 1}
    assert np.array_equal(roster.nodes.vectors, TEMPLATES.vectors)
    assert roster.same_picture(FACES).tolist() == [[0, 1]]


def test_a_crop_that_is_no_face_leaves_the_template() -> None:
    roster = _roster(left_out={"a1": "not_a_face"})
    assert roster.nodes.vectors[0] == pytest.approx(AXES[1])
    assert "a1" not in roster.node_of_face
    assert roster.left_out == {"a1": "not_a_face"}


def test_a_tracklet_without_any_good_crop_has_no_node_and_says_why() -> None:
    roster = _roster(left_out={"a1": "not_a_face", "a3": "ignored"})
    assert roster.nodes.node_ids == ("tb",)
    assert roster.left_out == {"a1": "not_a_face", "a3": "ignored", "a2": "no_embedding"}


def test_a_tracklet_of_two_persons_falls_into_its_faces() -> None:
    roster = _roster(apart={"ta"})
    assert roster.nodes.node_ids == ("a1", "a3", "tb")
    assert roster.node_of_face["a2"] in {0, 1}  # it has no vector: with one that is as near in time
    assert np.array_equal(roster.nodes.vectors[:2], AXES[:2])


def test_a_named_face_without_a_vector_gets_a_node_of_its_own() -> None:
    roster = _roster(apart={"ta"}, named={"a2"})
    assert sorted(roster.nodes.node_ids) == ["a1", "a2", "a3", "tb"]
    assert len(set(roster.node_of_face.values())) == 4


def test_crops_that_repeat_others_weigh_less() -> None:
    weights = _roster(repeats={"a3"}).nodes.weights
    assert weights[0] == pytest.approx(1.4 * 0.9 / 1.4)
    assert weights[1] == pytest.approx(0.5)


def test_single_vectors_are_asked_for_only_where_needed() -> None:
    assert opened_tracklets(FACES, {"b1": "ignored"}, {"ta"}) == {"ta", "tb"}
    assert opened_tracklets(FACES, {}, set()) == set()


def test_every_face_has_a_node_or_a_reason() -> None:
    for left_out in ({}, {"a1": "ignored"}, {"a1": "ignored", "a3": "not_a_face"}):
        for apart in (set(), {"ta"}):
            roster = _roster(left_out=left_out, apart=apart)
            assert roster.node_of_face.keys() ^ roster.left_out.keys() == {face.face_id for face in FACES}


def test_nodes_of_one_picture_are_paired_once_each() -> None:
    moments = [("a", 0), ("a", 0), ("a", 5), ("a", 5), ("b", 5)]
    assert same_picture_pairs(moments, [4, 2, 2, 4, None]).tolist() == [[2, 4]]

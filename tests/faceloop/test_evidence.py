"""From decisions on faces to constraints on nodes: people over pictures."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.identity.evidence import Evidence, node_constraints, tracklets_apart
from facestore.decisions import Decision, Verb, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = np.empty((0, 2), np.int64)


def _pair(verb: Verb, first: str, second: str) -> Decision:
    return decide(verb, face_id=first, other_face_id=second, annotator="ann", decided_at=NOW)


def _is(face: str, identity: str) -> Decision:
    return decide("is", face_id=face, identity_id=identity, annotator="ann", decided_at=NOW)


def _evidence(decisions: list[Decision], same_picture: list[tuple[int, int]] | None = None) -> Evidence:
    def rows(pairs: list[tuple[int, int]] | None) -> NDArray[np.int64]:
        return np.array(pairs or [], np.int64).reshape(-1, 2)

    return node_constraints(
        decisions,
        aliases={"absorbed": "anna"},
        node_of_face={f"f{row}": row for row in range(6)},
        same_picture=rows(same_picture),
        vectors=np.eye(6, dtype=np.float32),
    )


def _must(found: Evidence) -> list[list[int]]:
    return [list(pair) for pair in found.constraints.must_link.tolist()]


def _cannot(found: Evidence) -> list[list[int]]:
    return [list(pair) for pair in found.constraints.cannot_link.tolist()]


def test_same_and_different_become_node_pairs() -> None:
    found = _evidence([_pair("same", "f0", "f1"), _pair("different", "f1", "f2")])
    assert _must(found) == [[0, 1]]
    assert _cannot(found) == [[1, 2]]


def test_faces_of_one_identity_are_tied_also_under_its_merged_name() -> None:
    assert _must(_evidence([_is("f0", "anna"), _is("f3", "absorbed"), _is("f1", "anna")])) == [[0, 1], [1, 3]]


def test_a_decision_on_a_face_without_a_node_says_nothing() -> None:
    found = _evidence([_pair("same", "f0", "gone")])
    assert _must(found) == _cannot(found) == []


def test_two_faces_of_one_picture_differ_unless_a_person_says_same() -> None:
    assert _cannot(_evidence([], same_picture=[(0, 1)])) == [[0, 1]]
    found = _evidence([_pair("same", "f0", "f2"), _pair("same", "f1", "f2")], same_picture=[(0, 1), (0, 3)])
    assert _cannot(found) == [[0, 3]]
    assert found.lifted_pictures.tolist() == [[0, 1]]


def test_a_tracklet_is_taken_apart_where_people_see_two_persons_in_it() -> None:
    tracklet_of = {"f0": "t", "f1": "t", "f2": "u", "f3": "u"}
    assert tracklets_apart([_pair("different", "f0", "f1")], {}, tracklet_of) == {"t"}
    assert tracklets_apart([_pair("different", "f0", "f2")], {}, tracklet_of) == set()
    assert tracklets_apart([_is("f0", "anna"), _is("f1", "bob")], {}, tracklet_of) == {"t"}
    through_another = [_pair("same", "f0", "f2"), _pair("different", "f2", "f1")]
    assert tracklets_apart(through_another, {}, tracklet_of) == {"t"}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] != pair[1]), max_size=5),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1]), max_size=8),
)
def test_what_comes_out_can_always_be_satisfied(same: list[tuple[int, int]], pictures: list[tuple[int, int]]) -> None:
    found = _evidence([_pair("same", f"f{first}", f"f{second}") for first, second in same], same_picture=pictures)
    group = list(range(6))
    for first, second in _must(found):
        group = [group[first] if label == group[second] else label for label in group]
    assert all(group[first] != group[second] for first, second in _cannot(found))
    assert len(found.lifted_pictures) + len(_cannot(found)) == len(set(pictures))


def test_very_many_named_identities_are_kept_from_those_nearest_to_them() -> None:
    count = 800
    angles = np.arange(count) * 2 * np.pi / count
    found = node_constraints(
        [_is(f"f{row}", f"person-{row}") for row in range(count)],
        aliases={},
        node_of_face={f"f{row}": row for row in range(count)},
        same_picture=NONE,
        vectors=np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
    )
    pairs = {tuple(pair) for pair in _cannot(found)}
    assert {(row, row + 1) for row in range(count - 1)} <= pairs
    assert len(pairs) < 64 * count

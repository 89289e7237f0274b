"""Decisions that agree on faces must agree on nodes too: over tracklets, and over faces that are gone."""

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from faceloop.clustering.constraints import tie_groups
from faceloop.identity.evidence import node_constraints, tracklets_apart
from faceloop.identity.resolve import resolve
from facestore.decisions import Decision, Verb, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRACKLET = {"a1": "ta", "a2": "ta", "b1": "tb", "b2": "tb", "c1": "tc", "c2": "tc"}


def _pair(verb: Verb, first: str, second: str) -> Decision:
    return decide(verb, face_id=first, other_face_id=second, annotator="ann", decided_at=NOW)


def test_two_tracklets_that_a_tie_and_a_difference_both_join_are_taken_apart() -> None:
    said = [_pair("same", "a1", "b1"), _pair("different", "a2", "b2")]
    assert tracklets_apart(said, {}, TRACKLET) == {"ta", "tb"}
    assert tracklets_apart(said[1:], {}, TRACKLET) == set()


def test_a_face_that_is_gone_still_ties_those_it_was_tied_to_and_keeps_apart_what_differs_from_it() -> None:
    said = [_pair("same", "a1", "gone"), _pair("same", "b1", "gone"), _pair("different", "gone", "c1")]
    found = node_constraints(
        said,
        aliases={},
        node_of_face={"a1": 0, "b1": 1, "c1": 2},
        same_picture=np.empty((0, 2), np.int64),
        vectors=np.eye(3, dtype=np.float32),
    ).constraints
    assert found.must_link.tolist() == [[0, 1]]
    assert found.cannot_link.tolist() == [[0, 2]]


faces = st.sampled_from([*TRACKLET, "gone"])
words = st.tuples(st.sampled_from(["same", "different"]), faces, faces).filter(lambda said: said[1] != said[2])


@given(st.lists(words, max_size=8))
def test_nodes_can_satisfy_whatever_faces_can(spoken: list[tuple[Verb, str, str]]) -> None:
    effective = resolve([_pair(*said) for said in spoken], aliases={}, policy="latest").effective
    apart = tracklets_apart(effective, {}, TRACKLET)
    owners = {face: face if tracklet in apart else tracklet for face, tracklet in TRACKLET.items()}
    rows = {owner: row for row, owner in enumerate(sorted(set(owners.values())))}
    found = node_constraints(
        effective,
        aliases={},
        node_of_face={face: rows[owner] for face, owner in owners.items()},
        same_picture=np.empty((0, 2), np.int64),
        vectors=np.eye(len(rows), dtype=np.float32),
    )
    assert not tie_groups(found.constraints, sorted(rows)).broken

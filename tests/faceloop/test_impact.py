"""What a switch of labels changes, on labels small enough to count by hand."""

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.impact import (
    Impact,
    measure_impact,
    strained_decisions,
    stranger_ceiling,
    violated_decisions,
)
from facestore.decisions import Decision, Verb, decide
from facestore.records import Assignment, IdentityState

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _labels(spelled: str, confirmed: str = "") -> list[Assignment]:
    """`aab-` gives faces f0 and f1 to a, f2 to b and f3 to nobody; `confirmed` names identities."""

    def state_of(name: str) -> IdentityState:
        return "unknown" if name == "-" else "confirmed" if name in confirmed else "proposed"

    return [
        Assignment(
            face_id=f"f{row}", identity_id=None if name == "-" else name, state=state_of(name), confidence=0.9,
            source="auto", decision_id=None, via=None,
        )
        for row, name in enumerate(spelled)
    ]  # fmt: skip


def _impact(before: str, after: str, confirmed: str = "") -> Impact:
    return measure_impact(_labels(before, confirmed), _labels(after), strained=(), violated=())


def _pair(verb: Verb, one: str, other: str) -> Decision:
    return decide(verb, face_id=one, other_face_id=other, annotator="ann", decided_at=AT)


@pytest.mark.parametrize(
    ("before", "after", "fates"),
    [
        ("aab", "aab", {"a": "unchanged", "b": "unchanged"}),
        ("aa-", "aaa", {"a": "grown"}),
        ("aab", "a-b", {"a": "shrunk", "b": "unchanged"}),
        ("aaa", "aac", {"a": "split", "c": "new"}),
        ("aab", "aaa", {"a": "grown", "b": "merged"}),
        ("aab", "aa-", {"a": "unchanged", "b": "retired"}),
    ],
)
def test_every_identity_has_one_fate(before: str, after: str, fates: dict[str, str]) -> None:
    assert {change.identity_id: change.fate for change in _impact(before, after).changes} == fates


def test_a_merged_identity_names_who_has_its_faces_most_first() -> None:
    (change,) = (change for change in _impact("bbbaac", "aacaac").changes if change.identity_id == "b")
    assert (change.fate, change.other_ids) == ("merged", ("a", "c"))


def test_shares_are_of_the_faces_that_had_an_identity() -> None:
    impact = _impact("aaabb--", "aacb-dd", confirmed="a")
    assert [(move.face_id, move.to_identity) for move in impact.moves] == [("f2", "c"), ("f4", None)]
    assert (impact.labelled, impact.confirmed) == (5, 3)
    assert impact.moved_share == pytest.approx(2 / 5)
    assert impact.confirmed_moved_share == pytest.approx(1 / 3)


def test_empty_labels_move_nothing() -> None:
    assert (_impact("", "").moved_share, _impact("--", "aa").moved_share) == (0.0, 0.0)


def test_decisions_that_the_vectors_speak_against_are_listed_with_their_margin() -> None:
    templates = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    rows = {"a": 0, "b": 1, "c": 2, "c2": 2}
    far, near = _pair("same", "a", "b"), _pair("different", "b", "c")
    fine = [_pair("same", "b", "c2"), _pair("different", "a", "b"), _pair("same", "c", "c2"), _pair("same", "a", "x")]
    found = strained_decisions([far, near, *fine], rows, templates, threshold=0.5)
    assert [(entry.decision_id, round(entry.similarity, 4), round(entry.margin, 4)) for entry in found] == [
        (far.decision_id, 0.0, 0.5),
        (near.decision_id, 0.8, 0.3),
    ]


def test_one_in_a_thousand_strangers_is_more_alike_than_the_ceiling() -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(3000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    people = np.arange(3000) // 2  # neighbours in the table are one person, and one vector
    vectors[1::2] = vectors[::2]
    ceiling = stranger_ceiling(vectors, people)
    assert ceiling is not None
    cosines = (vectors @ vectors.T)[people[:, None] != people[None]]
    assert np.mean(cosines > ceiling) == pytest.approx(1e-3, rel=0.3)
    assert stranger_ceiling(vectors, np.zeros(3000, np.int64)) is None
    assert stranger_ceiling(vectors, np.full(3000, -1)) is None
    assert stranger_ceiling(vectors[:0], people[:0]) is None


def test_a_decision_is_broken_by_labels_only_where_faces_are_there_to_break_it() -> None:
    said = decide("is", face_id="f0", identity_id="old", annotator="ann", decided_at=AT)
    apart, together = _pair("different", "f0", "f1"), _pair("same", "f0", "f2")
    labels = _labels("aab")
    aliases = {"old": "a"}
    assert violated_decisions([said, apart, together], labels, aliases=aliases) == [
        apart.decision_id,
        together.decision_id,
    ]
    assert violated_decisions([said], labels, aliases={}) == [said.decision_id]
    assert (
        violated_decisions([_pair("same", "f0", "gone"), _pair("different", "f3", "f4")], _labels("aab--"), aliases={})
        == []
    )


@given(st.lists(st.tuples(st.sampled_from("abc-"), st.sampled_from("abcd-")), max_size=12))
def test_counts_of_an_impact_agree_with_each_other(rows: list[tuple[str, str]]) -> None:
    before, after = "".join(one for one, _ in rows), "".join(other for _, other in rows)
    impact = _impact(before, after)
    assert sum(change.faces_before for change in impact.changes) == impact.labelled
    assert sum(change.faces_after for change in impact.changes) == len(after.replace("-", ""))
    assert len(impact.moves) == sum(one != "-" and one != other for one, other in rows)
    assert all(one.identity_id < other.identity_id for one, other in pairwise(impact.changes))
    if before == after:
        assert {change.fate for change in impact.changes} <= {"unchanged"}
    if not impact.moves:
        assert {change.fate for change in impact.changes} <= {"unchanged", "grown", "new"}

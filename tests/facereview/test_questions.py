"""Questions: a pair is one question, whichever side is named first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.questions import KEY_HEX, Side, question_key, same_person_question
from facestore.errors import DataError


def side(name: str, identity: str | None = None) -> Side:
    return Side(tracklet_id=name, face_id=f"face-{name}", identity_id=identity)


@given(st.text(), st.text())
def test_the_key_does_not_depend_on_which_side_comes_first(first: str, second: str) -> None:
    if first == second:
        return
    assert question_key(first, second) == question_key(second, first)
    assert len(question_key(first, second)) == KEY_HEX


@given(st.sets(st.text(alphabet="abc", min_size=1, max_size=3), min_size=3, max_size=3))
def test_two_pairs_of_three_tracklets_have_two_keys(names: set[str]) -> None:
    a, b, c = sorted(names)
    assert len({question_key(a, b), question_key(a, c), question_key(b, c)}) == 3


def test_sides_are_ordered_by_tracklet_with_everything_they_carry() -> None:
    question = same_person_question(
        side("z", "person-1"), side("a"), similarity=0.41, margin=-0.01, reason="unknown_near_identity"
    )
    assert (question.left.tracklet_id, question.right.tracklet_id) == ("a", "z")
    assert question.right.identity_id == "person-1"
    assert question == same_person_question(
        side("a"), side("z", "person-1"), similarity=0.41, margin=-0.01, reason="unknown_near_identity"
    )


def test_a_tracklet_paired_with_itself_is_refused() -> None:
    with pytest.raises(DataError, match="paired with itself"):
        same_person_question(side("a"), side("a"), similarity=1.0, margin=0.0, reason="weak_member")


def test_json_holds_both_sides_and_the_reason() -> None:
    question = same_person_question(side("b"), side("a", "p"), similarity=0.33333, margin=0.05, reason="unknown_pair")
    found = question.to_json()
    assert found["left"] == {"tracklet_id": "a", "face_id": "face-a", "identity_id": "p"}
    assert (found["similarity"], found["reason"], found["key"]) == (0.3333, "unknown_pair", question.key)

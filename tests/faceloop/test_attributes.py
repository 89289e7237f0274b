"""Attributes: one word spreads over tracklet, key group and confirmed identity, and is gone when it is retracted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.attributes import AttributeParams, Reach, SpreadAttributes, spread_attributes
from facestore.decisions import Decision, decide
from facestore.records import Assignment, IdentityState

START = datetime(2026, 1, 1, tzinfo=UTC)
REACH: dict[str, Reach] = {"eyes": "identity", "glasses": "tracklet", "expression": "face"}
PARAMS = AttributeParams(reach=REACH)


def _word(face: str, name: str, value: str, minute: int = 0, annotator: str = "ann") -> Decision:
    at = START + timedelta(minutes=minute)
    return decide("attribute", face_id=face, name=name, value=value, annotator=annotator, decided_at=at)


def _row(face: str, identity: str | None, state: IdentityState) -> Assignment:
    return Assignment(
        face_id=face, identity_id=identity, state=state, confidence=0.9, source="auto", decision_id=None, via=None
    )


# Tracklets ab and cd; b's badge is e's; c is in the confirmed identity P with a and b; x is proposed elsewhere.
TRACKLETS = {"a": "ab", "b": "ab", "c": "cd", "d": "cd", "e": "e", "x": "x"}
BADGES = {"b": 0, "a": 0, "e": 0}
ROWS = [
    _row("a", "P", "confirmed"),
    _row("b", "P", "confirmed"),
    _row("c", "P", "proposed"),
    _row("d", "P", "ignored"),
    _row("e", None, "unknown"),
    _row("x", "Q", "proposed"),
]


def _spread(words: Sequence[Decision], rows: Sequence[Assignment] = ROWS) -> SpreadAttributes:
    return spread_attributes(words, tracklet_of_face=TRACKLETS, group_of_face=BADGES, assignments=rows, params=PARAMS)


def _values(spread: SpreadAttributes) -> Mapping[str, tuple[str, str, str]]:
    return {label.face_id: (label.value, label.source, label.via) for label in spread.labels}


def test_a_word_about_the_person_reaches_tracklet_key_group_and_confirmed_identity() -> None:
    word = _word("a", "eyes", "green")
    spread = _spread([word])
    assert _values(spread) == {
        "a": ("green", "human", "face"),
        "b": ("green", "propagated", "tracklet"),
        "e": ("green", "propagated", "key"),
        "c": ("green", "propagated", "cluster"),
    }
    assert {label.decision_id for label in spread.labels} == {word.decision_id}


def test_an_attribute_goes_as_far_as_its_kind_may_and_an_unnamed_kind_nowhere() -> None:
    assert set(_values(_spread([_word("a", "glasses", "yes")]))) == {"a", "b"}
    assert set(_values(_spread([_word("a", "expression", "smile")]))) == {"a"}
    assert set(_values(_spread([_word("a", "hat", "yes")]))) == {"a"}


def test_an_identity_that_nobody_confirmed_takes_no_word_over() -> None:
    rows = [_row("a", "P", "proposed"), _row("c", "P", "proposed")]
    assert set(_values(_spread([_word("a", "eyes", "green")], rows))) == {"a", "b", "e"}


def test_the_last_word_on_a_face_wins_and_the_others_are_not_a_disagreement() -> None:
    spread = _spread([_word("a", "eyes", "green", 5, "ben"), _word("a", "eyes", "blue", 1)])
    assert {label.value for label in spread.labels} == {"green"}
    assert spread.disagreements == ()


def test_two_words_in_one_identity_are_told_and_stay_where_people_agree() -> None:
    spread = _spread([_word("a", "eyes", "green"), _word("c", "eyes", "blue")])
    assert _values(spread) == {
        "a": ("green", "human", "face"),
        "b": ("green", "propagated", "tracklet"),
        "c": ("blue", "human", "face"),
        "e": ("green", "propagated", "key"),
    }
    (told,) = spread.disagreements
    assert (told.name, told.via, told.values, told.face_ids) == ("eyes", "cluster", ("blue", "green"), ("a", "c"))


def test_a_disputed_tracklet_is_not_labelled_from_farther_away() -> None:
    spread = _spread([_word("a", "eyes", "green"), _word("b", "eyes", "blue")])
    assert _values(spread) == {"a": ("green", "human", "face"), "b": ("blue", "human", "face")}
    assert [told.via for told in spread.disagreements] == ["tracklet"]  # told once, where it is narrowest


def test_rejected_and_ignored_faces_neither_give_nor_take() -> None:
    assert _spread([_word("d", "eyes", "green")]).labels == ()
    assert "d" not in _values(_spread([_word("c", "eyes", "green")]))


@given(st.lists(st.tuples(st.sampled_from("abcdex"), st.sampled_from(["red", "blue"]), st.integers(0, 5))), st.data())
def test_a_retracted_word_is_gone_everywhere_and_order_does_not_matter(
    said: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    words = [_word(face, "eyes", value, minute) for face, value, minute in said]
    shuffled = list(words)
    Random(1).shuffle(shuffled)
    whole = _spread(words)
    assert _spread(shuffled) == whole
    own = {label.face_id for label in whole.labels if label.via == "face"}
    assert own == {face for face, _, _ in said} - {"d"}
    if words:
        gone = data.draw(st.sampled_from(words))
        left = _spread([word for word in words if word != gone])
        assert gone.decision_id not in {label.decision_id for label in left.labels}

"""What an answer of each kind says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.answers.claims import BOX, LANDMARKS, MISSED_FACE, claims_of
from facereview.kinds import (
    Answer,
    Attributes,
    AttributesAnswer,
    AttributeValue,
    Boxes,
    BoxesAnswer,
    Candidate,
    FaceBox,
    Landmarks,
    LandmarksAnswer,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    Prediction,
    SamePerson,
    SamePersonAnswer,
    Strip,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
)
from facestore.decisions import decide
from facestore.errors import DataError

from .review_world import NOW

PAIR = SamePerson(left=Strip(face_ids=("f1", "f2")), right=Strip(face_ids=("g1",)), similarity=0.4, chance=0.7)
GRID = OddOnesOut(
    reference=Strip(face_ids=("n",)),
    members=tuple(Member(face_id=face, chance=0.9, is_doubtful=False) for face in ("m", "o", "p")),
)
WHO = WhoIsThis(
    probe=Strip(face_ids=("p",)),
    candidates=tuple(Candidate(strip=Strip(face_ids=(face,)), similarity=0.5, chance=0.4) for face in ("a", "q")),
)
FACE = Attributes(strip=Strip(face_ids=("f",)), predictions=(Prediction(name="gaze", value="camera", score=0.8),))
FRAME = Boxes(
    footage_id="v", pts_ms=40, width=100, height=80, boxes=(FaceBox(face_id="f", bbox=(1.0, 2.0, 30.0, 40.0)),)
)
POINTS = Landmarks(face_id="f", footage_id="v", pts_ms=40, view=(0, 0, 50, 50), points=(1.0,) * 10)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("same", [("same", "f1", "g1", 0.7)]),
        ("different", [("different", "f1", "g1", pytest.approx(0.3))]),
        ("unsure", []),
        ("left_unusable", [("ignore", "f1", None, None), ("ignore", "f2", None, None)]),
        ("right_unusable", [("ignore", "g1", None, None)]),
    ],
)
def test_an_answer_about_two_strips_is_about_their_first_faces(verdict: str, expected: list[object]) -> None:
    said = claims_of(PAIR, SamePersonAnswer(verdict=verdict))  # type: ignore[arg-type]
    assert [(one.verb, one.face_id, one.other_face_id, one.chance) for one in said] == expected


def test_who_is_not_marked_in_a_grid_is_the_person_and_pairs_are_ordered() -> None:
    said = claims_of(GRID, OddOnesOutAnswer(verdict="sorted", strangers=("o",), not_faces=("p",)))
    assert [(one.verb, one.face_id, one.other_face_id) for one in said] == [
        ("same", "m", "n"),
        ("different", "n", "o"),
        ("not_a_face", "p", None),
    ]
    assert claims_of(GRID, OddOnesOutAnswer(verdict="unsure")) == ()


def test_a_chosen_candidate_says_nothing_of_the_others_and_someone_new_is_none_of_them() -> None:
    (said,) = claims_of(WHO, WhoIsThisAnswer(verdict="candidate", candidate=1))
    assert (said.verb, said.face_id, said.other_face_id, said.chosen_for) == ("same", "p", "q", "p")
    new = claims_of(WHO, WhoIsThisAnswer(verdict="someone_new"))
    assert [(one.verb, one.face_id, one.other_face_id) for one in new] == [
        ("different", "a", "p"),
        ("different", "p", "q"),
    ]
    assert said.contradicts(new[1]) and not said.contradicts(new[0])
    other = claims_of(WHO, WhoIsThisAnswer(verdict="candidate", candidate=0))[0]
    assert said.contradicts(other)


def test_attributes_carry_the_score_only_where_people_say_what_the_model_did() -> None:
    values = (AttributeValue(name="gaze", value="camera"), AttributeValue(name="pose", value="frontal"))
    said = claims_of(FACE, AttributesAnswer(verdict="described", values=values))
    assert [(one.name, one.value, one.chance) for one in said] == [("gaze", "camera", 0.8), ("pose", "frontal", None)]
    assert [one.verb for one in claims_of(FACE, AttributesAnswer(verdict="unusable"))] == ["ignore"]


def test_boxes_are_wrong_moved_or_missed() -> None:
    moved = (FaceBox(face_id="f", bbox=(3.0, 2.0, 30.0, 40.04)),)
    said = claims_of(FRAME, BoxesAnswer(wrong=(), moved=moved, missed=((49.0, 49.0, 60.0, 61.0),)))
    assert [(one.verb, one.name) for one in said] == [("attribute", BOX), ("attribute", MISSED_FACE)]
    assert said[0].value == "3.0,2.0,30.0,40.0"
    assert json.loads(str(said[1].value)) == {"footage_id": "v", "pts_ms": 40, "bbox": [49.0, 49.0, 60.0, 61.0]}
    near = claims_of(FRAME, BoxesAnswer(wrong=(), moved=(), missed=((49.3, 49.0, 60.4, 61.0),)))
    assert near[0].face_id == said[1].face_id  # drawn by another hand
    (wrong,) = claims_of(FRAME, BoxesAnswer(wrong=("f",), moved=(), missed=()))
    assert (wrong.verb, wrong.face_id) == ("not_a_face", "f")


def test_landmarks_are_five_points_or_none() -> None:
    (said,) = claims_of(POINTS, LandmarksAnswer(verdict="placed", points=tuple(map(float, range(10)))))
    assert (said.name, said.value) == (LANDMARKS, "0.0,1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0,9.0")
    assert claims_of(POINTS, LandmarksAnswer(verdict="unusable"))[0].verb == "ignore"
    with pytest.raises(DataError, match="five"):
        claims_of(POINTS, LandmarksAnswer(verdict="placed", points=(1.0, 2.0)))


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        (GRID, OddOnesOutAnswer(verdict="sorted", strangers=("not shown",))),
        (WHO, WhoIsThisAnswer(verdict="candidate", candidate=2)),
        (WHO, WhoIsThisAnswer(verdict="candidate", candidate=-1)),
        (WHO, WhoIsThisAnswer(verdict="candidate")),
        (FRAME, BoxesAnswer(wrong=("not shown",), moved=(), missed=())),
        (PAIR, WhoIsThisAnswer(verdict="unsure")),
        (GRID, SamePersonAnswer(verdict="same")),
    ],
)
def test_an_answer_about_what_is_not_shown_is_an_error(subject: Subject, answer: Answer) -> None:
    with pytest.raises(DataError):
        claims_of(subject, answer)


@given(st.lists(st.sampled_from(["same", "stranger", "nothing"]), min_size=3, max_size=3))
def test_every_member_of_a_grid_gets_one_claim_that_a_decision_can_carry(words: list[str]) -> None:
    faces = [member.face_id for member in GRID.members]
    answer = OddOnesOutAnswer(
        verdict="sorted",
        strangers=tuple(face for face, word in zip(faces, words, strict=True) if word == "stranger"),
        not_faces=tuple(face for face, word in zip(faces, words, strict=True) if word == "nothing"),
    )
    said = claims_of(GRID, answer)
    assert len({one.topic for one in said}) == 3
    for one in said:
        decide(one.verb, face_id=one.face_id, other_face_id=one.other_face_id, annotator="ann", decided_at=NOW)

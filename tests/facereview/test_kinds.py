"""Questions as values: one id for one question, whoever asks and in whatever order; JSON both ways."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.kinds import (
    Answer,
    Boxes,
    BoxesAnswer,
    Candidate,
    FaceBox,
    LandmarksAnswer,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Strip,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
    ask,
    asked_faces,
    dump_answer,
    expected_answer,
    kind_of,
    load_answer,
    shown_faces,
    subject_of,
)
from facestore.errors import DataError
from facestore.questions import Question

faces = st.integers(0, 999).map(lambda number: f"{number:032x}")
chances = st.floats(0, 1)


def asked(subject: Subject, expected: Answer | None = None, chance: float = 0.5) -> Question:
    return ask(
        subject, subset="s", reason="test", model_version="m", chance=chance, gain=1, seconds=3, expected=expected
    )


def pair(left: tuple[str, ...], right: tuple[str, ...], chance: float = 0.5) -> SamePerson:
    return SamePerson(left=Strip(face_ids=left), right=Strip(face_ids=right), similarity=0.1, chance=chance)


def grid(reference: str, members: list[str]) -> OddOnesOut:
    return OddOnesOut(
        reference=Strip(face_ids=(reference,)),
        members=tuple(Member(face_id=face, chance=0.5, is_doubtful=False) for face in members),
    )


@given(st.lists(faces, min_size=2, max_size=6, unique=True), chances, chances)
def test_a_pair_in_either_order_with_other_shots_and_chances_is_one_question(
    some: list[str], first: float, second: float
) -> None:
    one, other = some[:2]
    before = asked(pair((one, *some[2:4]), (other, *some[4:]), first), chance=first)
    after = asked(pair((other,), (one,), second), chance=second)
    assert before.question_id == after.question_id
    assert subject_of(before).left.face_ids[0] == min(one, other)  # type: ignore[union-attr]


@given(st.lists(faces, min_size=3, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_a_grid_is_one_question_in_any_order_of_members_and_another_for_another_reference(
    some: list[str], chosen: object
) -> None:
    shuffled = sorted(some[1:], key=lambda _: chosen.random())  # type: ignore[attr-defined]
    assert asked(grid(some[0], some[1:])).question_id == asked(grid(some[0], shuffled)).question_id
    assert asked(grid(some[1], [some[0], *some[2:]])).question_id != asked(grid(some[0], some[1:])).question_id


def test_a_honeypot_is_a_question_of_its_own_and_keeps_its_right_answer() -> None:
    right = SamePersonAnswer(verdict="different")
    trap = asked(pair(("a",), ("b",)), expected=right)
    assert trap.question_id != asked(pair(("a",), ("b",))).question_id
    assert expected_answer(trap) == right
    assert expected_answer(asked(pair(("a",), ("b",)))) is None


def test_frames_without_a_box_are_told_apart_by_place_and_time() -> None:
    empty = Boxes(footage_id="v", pts_ms=40, width=10, height=10, boxes=())
    ids = {asked(one).question_id for one in (empty, replace(empty, pts_ms=80), replace(empty, footage_id="w"))}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "subject", [pair(("a",), ("a",)), grid("a", ["b", "b"]), grid("a", ["a"]), pair(("",), ("b",))]
)
def test_a_face_beside_itself_and_an_empty_place_are_no_question(subject: Subject) -> None:
    with pytest.raises(DataError, match="names a face twice or none"):
        asked(subject)


def test_every_face_with_a_picture_is_shown_and_only_first_ones_are_asked_about() -> None:
    who = WhoIsThis(
        probe=Strip(face_ids=("p", "p2")),
        candidates=(Candidate(strip=Strip(face_ids=("c", "c2")), similarity=0.5, chance=0.5),),
    )
    assert asked_faces(who) == ("p", "c")
    assert shown_faces(who) == ("p", "p2", "c", "c2")


@given(st.lists(faces, min_size=2, max_size=5, unique=True), chances)
def test_subjects_come_back_as_they_were(some: list[str], chance: float) -> None:
    subject = grid(some[0], some[1:])
    assert subject_of(asked(subject, chance=chance)) == subject
    assert kind_of(subject) == "odd_ones_out"


boxes = st.tuples(*[st.floats(0, 4_000, allow_subnormal=False)] * 4)
answers: st.SearchStrategy[Answer] = st.one_of(
    st.sampled_from([SamePersonAnswer(verdict="same"), SamePersonAnswer(verdict="unsure")]),
    st.lists(faces, max_size=4).map(lambda some: OddOnesOutAnswer(verdict="sorted", strangers=tuple(some))),
    st.integers(0, 4).map(lambda place: WhoIsThisAnswer(verdict="candidate", candidate=place)),
    st.lists(boxes, max_size=3).map(
        lambda drawn: BoxesAnswer(
            wrong=(), moved=tuple(FaceBox(face_id="f", bbox=one) for one in drawn), missed=tuple(drawn)
        )
    ),
    st.lists(st.floats(0, 4_000), min_size=10, max_size=10).map(
        lambda points: LandmarksAnswer(verdict="placed", points=tuple(points))
    ),
)
KIND_OF = {
    SamePersonAnswer: "same_person",
    OddOnesOutAnswer: "odd_ones_out",
    WhoIsThisAnswer: "who_is_this",
    BoxesAnswer: "boxes",
    LandmarksAnswer: "landmarks",
}


@given(answers)
def test_answers_come_back_as_they_were_and_are_spelled_one_way(answer: Answer) -> None:
    text = dump_answer(answer)
    again = load_answer(KIND_OF[type(answer)], text)  # type: ignore[arg-type]
    assert again == answer
    assert dump_answer(again) == text


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"verdict":"perhaps"}', '{"verdict":1}', "null"])
def test_what_is_no_answer_is_an_error(text: str) -> None:
    with pytest.raises(DataError, match="an answer to same_person"):
        load_answer("same_person", text)


def test_a_subject_of_another_kind_is_an_error() -> None:
    question = replace(asked(pair(("a",), ("b",))), kind="boxes")
    with pytest.raises(DataError, match="is not what its kind says"):
        subject_of(question)

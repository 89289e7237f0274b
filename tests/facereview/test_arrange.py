"""A newer suggestion keeps the places of faces, so that an answer to the older one still means what was said."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from facereview.answers.claims import claims_of
from facereview.asking.arrange import as_asked
from facereview.asking.twins import topic_of
from facereview.kinds import (
    Boxes,
    FaceBox,
    Landmarks,
    OddOnesOutAnswer,
    WhoIsThisAnswer,
    asked_faces,
    shown_faces,
    subject_of,
)
from facereview.pictures import pictures_of

from .paper_server import asked as question_about
from .paper_server import grid, pair, whose

FACES = st.permutations(["b", "c", "d", "e"])


@given(FACES, FACES, st.integers(0, 3))
def test_the_chosen_candidate_stays_the_same_person(old: list[str], new: list[str], place: int) -> None:
    before, after = whose("a", old), as_asked(whose("a", new, version="run 2"), whose("a", old))
    answer = WhoIsThisAnswer(verdict="candidate", candidate=place)
    said, meant = claims_of(subject_of(after), answer), claims_of(subject_of(before), answer)
    assert [claim.topic for claim in said] == [claim.topic for claim in meant]
    assert (after.question_id, after.model_version) == (before.question_id, "run 2")


@given(FACES, FACES)
def test_a_grid_keeps_its_order_and_shows_the_same_pictures(old: list[str], new: list[str]) -> None:
    before, after = grid("a", old), as_asked(grid("a", new), grid("a", old))
    assert asked_faces(subject_of(after)) == ("a", *old)
    assert pictures_of(subject_of(after)) == pictures_of(subject_of(before))
    answer = OddOnesOutAnswer(verdict="sorted", strangers=(old[0],))
    assert len(claims_of(subject_of(after), answer)) == len(old)


def test_a_pair_keeps_its_shots_and_takes_the_new_chance() -> None:
    newer = pair("a", "b", chance=0.1, version="run 2")
    renewed = newer.subject.replace("a again", "a once more")
    after = as_asked(replace(newer, subject=renewed), pair("a", "b"))
    assert shown_faces(subject_of(after)) == ("a", "a again", "b", "b again")
    assert after.chance == 0.1
    assert '"chance":0.1' in after.subject


def test_boxes_and_points_stay_as_they_were_shown() -> None:
    def frame(right: float) -> Boxes:
        box = FaceBox(face_id="f", bbox=(1.0, 1.0, right, 9.0))
        return Boxes(footage_id="v", pts_ms=4, width=20, height=20, boxes=(box,))

    def points(view: tuple[int, int, int, int]) -> Landmarks:
        return Landmarks(face_id="f", footage_id="v", pts_ms=4, view=view, points=tuple(range(10)))

    shown = question_about(frame(9.0), rank=0, version="run 1")
    assert as_asked(question_about(frame(8.0), rank=0, version="run 2"), shown).subject == shown.subject
    cut = question_about(points((0, 0, 9, 9)), rank=0, version="run 1")
    assert as_asked(question_about(points((1, 1, 9, 9)), rank=0, version="run 2"), cut).subject == cut.subject


def test_a_topic_is_two_groups_in_either_order_and_never_half_known() -> None:
    groups = {"a": "A", "b": "B", "c": "B", "d": "A", "e": "E"}
    assert topic_of(pair("a", "b"), groups) == topic_of(pair("c", "d"), groups) is not None
    assert topic_of(pair("a", "e"), groups) != topic_of(pair("a", "b"), groups)
    assert topic_of(pair("a", "d"), groups) is None
    assert topic_of(pair("a", "x"), groups) is None
    assert topic_of(grid("a", ["b"]), groups) is None
    assert topic_of(whose("a", ["b", "e"]), groups) == topic_of(whose("d", ["e", "c"]), groups) is not None
    assert topic_of(whose("b", ["a"]), groups) != topic_of(whose("a", ["b"]), groups)

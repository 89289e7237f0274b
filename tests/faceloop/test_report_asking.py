"""The first questions of the plan on the page, with the pictures that are still there."""

from faceloop.reports.asking import question_views
from faceloop.reports.page import Photo
from facereview.kinds import Boxes, Member, OddOnesOut, SamePerson, Strip, Subject, ask
from facestore.questions import Question


def question(subject: Subject, gain: float = 4.0) -> Question:
    return ask(subject, subset="s", reason="weak_member", model_version="run", chance=0.7, gain=gain, seconds=5.0)


def photograph(face_id: str) -> Photo | None:
    if face_id.startswith("gone"):
        return None
    return Photo(src=None, alt=face_id, caption="", confidence=None, is_low=False)


def pair(left: str, right: str) -> Question:
    sides = Strip(face_ids=(left,), identity_id="person-0123456789"), Strip(face_ids=(right,))
    return question(SamePerson(left=sides[0], right=sides[1], similarity=0.4, chance=0.5))


def test_a_pair_shows_its_two_sides_by_name() -> None:
    (view,) = question_views([pair("a", "b")], photograph, limit=5)
    assert [(strip.name, [photo.alt for photo in strip.photos]) for strip in view.strips] == [
        ("person-01234567", ["a"]),
        ("unknown", ["b"]),
    ]
    assert view.gain == 4.0


def test_a_grid_shows_its_reference_and_whom_it_doubts() -> None:
    members = (
        Member(face_id="m1", chance=0.9, is_doubtful=False),
        Member(face_id="m2", chance=0.2, is_doubtful=True),
    )
    grid = question(OddOnesOut(reference=Strip(face_ids=("r",)), members=members))
    (view,) = question_views([grid], photograph, limit=5)
    assert [[photo.alt for photo in strip.photos] for strip in view.strips] == [["r"], ["m2"]]


def test_questions_about_faces_that_are_gone_or_about_frames_are_left_out_and_the_next_ones_shown() -> None:
    frame = question(Boxes(footage_id="f", pts_ms=0, width=10, height=10, boxes=()))
    views = question_views([pair("a", "gone"), frame, pair("a", "c"), pair("a", "d"), pair("a", "e")], photograph, 2)
    assert [view.strips[1].photos[0].alt for view in views] == ["c", "d"]

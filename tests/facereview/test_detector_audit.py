"""What people found of the detector, counted once for each frame and face."""

import math

from facereview.kinds import Boxes, BoxesAnswer, FaceBox, Landmarks, LandmarksAnswer
from facereview.quality.audit_points import TEMPLATE_PX
from facereview.quality.detector_audit import detector_audit

from .answered import answered, question

POINTS = tuple(float(number) for number in TEMPLATE_PX.ravel())  # as in the aligned crop: a px is a px
FRAME = question(
    Boxes(
        footage_id="film",
        pts_ms=0,
        width=100,
        height=100,
        boxes=(FaceBox(face_id="a", bbox=(0, 0, 10, 10)), FaceBox(face_id="b", bbox=(20, 0, 30, 10))),
    )
)


def face(name: str) -> Landmarks:
    return Landmarks(face_id=name, footage_id="film", pts_ms=0, view=(0, 0, 112, 112), points=POINTS)


def moved(by_px: float) -> LandmarksAnswer:
    return LandmarksAnswer(verdict="placed", points=(POINTS[0] + by_px, *POINTS[1:]))


def test_points_within_two_px_pass_and_unusable_faces_do_not_count() -> None:
    asked = [question(face(name)) for name in ("near", "far", "unusable")]
    answers = [moved(1.5), moved(3.0), LandmarksAnswer(verdict="unusable")]
    found = detector_audit(asked, [answered(q, "x", answer) for q, answer in zip(asked, answers, strict=True)])
    assert (found.points.faces, found.points.within_share) == (2, 0.5)
    assert math.isclose(found.points.worst_px[0], 3.0, abs_tol=1e-6)


def test_boxes_are_counted_by_the_latest_answer_to_a_frame() -> None:
    first = BoxesAnswer(wrong=("a", "b"), moved=(), missed=())
    latest = BoxesAnswer(wrong=("a",), moved=(), missed=((50.0, 50.0, 60.0, 60.0),))
    found = detector_audit([FRAME], [answered(FRAME, "x", first), answered(FRAME, "y", latest, minute=1)])
    assert (found.frames, found.boxes, found.wrong, found.moved, found.missed) == (1, 2, 1, 0, 1)


def test_nothing_looked_at_is_nothing_found() -> None:
    found = detector_audit([FRAME], [])
    assert (found.frames, found.boxes, found.points.faces) == (0, 0, 0)

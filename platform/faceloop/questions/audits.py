"""Small random samples that check what is thought to be right: boxes of frames, and landmarks of faces.

A draw hangs on the seed and the ids alone: any order of the input, and any later addition, keeps most of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from faceloop.questions.drafts import QuestionReason
from faceloop.questions.plan_params import SecondsParams
from facereview.kinds import Boxes, FaceBox, Landmarks, ask
from facestore.ids import sha256_hex
from facestore.questions import Question

_VIEW_SIDES = 2.0  # of a box, that are cut out around it
_REASON: QuestionReason = "random_sample"
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """A detection in a frame. Places are px of the frame as displayed."""

    face_id: str
    bbox: Box  # x1, y1, x2, y2
    landmarks: tuple[float, ...]  # 5 × (x, y)
    det_score: float  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSeen:
    """One frame that the detector looked at, with all that it kept there."""

    footage_id: str
    pts_ms: int
    subset: str
    width: int  # px
    height: int
    detected: tuple[Detected, ...]  # may be none


def lot(seed: int, *parts: str | int) -> str:
    """A place in a random order, hex: the same for the same parts."""
    return sha256_hex("\x1f".join(map(str, (seed, *parts))).encode())


def ask_boxes(frame: FrameSeen, seconds: SecondsParams, *, model_version: str) -> Question:
    """Are all faces of the frame boxed, and nothing else?"""
    boxes = sorted(frame.detected, key=lambda found: (found.bbox, found.face_id))
    right = 1.0
    for found in boxes:
        right *= min(max(found.det_score, 0.0), 1.0)
    return ask(
        Boxes(
            footage_id=frame.footage_id,
            pts_ms=frame.pts_ms,
            width=frame.width,
            height=frame.height,
            boxes=tuple(FaceBox(face_id=found.face_id, bbox=_rounded(found.bbox)) for found in boxes),
        ),
        subset=frame.subset,
        reason=_REASON,
        model_version=model_version,
        chance=round(right, 4),
        gain=0.0,
        seconds=seconds.boxes + seconds.box * len(boxes),
    )


def ask_landmarks(found: Detected, frame: FrameSeen, seconds: SecondsParams, *, model_version: str) -> Question:
    """Are the five points of a face right? Shown is a square around its box, cut at the edges of the frame."""
    return ask(
        Landmarks(
            face_id=found.face_id,
            footage_id=frame.footage_id,
            pts_ms=frame.pts_ms,
            view=_view(found.bbox, frame.width, frame.height),
            points=tuple(round(value, 2) for value in found.landmarks),
        ),
        subset=frame.subset,
        reason=_REASON,
        model_version=model_version,
        chance=round(min(max(found.det_score, 0.0), 1.0), 4),
        gain=0.0,
        seconds=seconds.landmarks,
    )


def within(questions: Iterable[Question], budget_s: float) -> list[Question]:
    """As many of the first questions as fit into the time."""
    kept: list[Question] = []
    for question in questions:
        budget_s -= question.seconds
        if budget_s < 0:
            break
        kept.append(question)
    return kept


def _view(bbox: Box, width: int, height: int) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = bbox
    half = _VIEW_SIDES * max(x2 - x1, y2 - y1) / 2
    middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = max(0, int(middle_x - half)), max(0, int(middle_y - half))
    return (
        left,
        top,
        min(width, max(round(middle_x + half), left + 1)),
        min(height, max(round(middle_y + half), top + 1)),
    )


def _rounded(bbox: Box) -> Box:
    x1, y1, x2, y2 = (round(edge, 2) for edge in bbox)
    return x1, y1, x2, y2

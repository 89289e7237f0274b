"""Face records: measured, and kept or dropped with the first reason that holds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.footage.decode import Picture
from faceloop.vision.align import ARCFACE_TEMPLATE_PX
from faceloop.vision.detections import Detections
from faceloop.vision.faces import FaceLimits, inside_share, measure_faces
from faceloop.vision.tracklets import Shot
from facestore.records import Face, Footage

LIMITS = FaceLimits(min_size_px=24.0, min_quality=0.15, max_yaw_deg=80.0, max_faces_per_frame=3, context_px=64)
FOOTAGE = Footage(
    footage_id="f" * 64,
    batch="b000",
    uri="a.mp4",
    locations=("a.mp4",),
    size_bytes=1,
    kind="video",
    width=400,
    height=300,
    rotation=0,
    fps=25.0,
    duration_s=1.0,
    frames=25,
    codec="h264",
    captured_at=None,
    source="s",
    subset="cam1",
    consent_id=None,
    keys=(),
    flags=(),
)


def _measured(corners: list[tuple[float, float, float]], limits: FaceLimits = LIMITS) -> list[tuple[Face, Shot | None]]:
    """Faces with their upper left corner and side, px, in a picture of noise (300, 400)."""
    noise = np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    boxes = np.array([(x, y, x + side, y + side) for x, y, side in corners], dtype=np.float32).reshape(-1, 4)
    landmarks = np.stack([ARCFACE_TEMPLATE_PX * (side / 112) + (x, y) for x, y, side in corners]).astype(np.float32)
    scores = np.linspace(0.9, 0.8, len(corners), dtype=np.float32)
    found = Detections(boxes_xyxy_px=boxes, landmarks_px=landmarks, scores=scores)
    picture = Picture(pts_ms=40, is_cut=False, frame=noise, rotation=0)
    ids = [f"id{rank}" for rank in range(len(corners))]
    return list(measure_faces(picture, found, ids, FOOTAGE, "builtin", limits))


def test_a_kept_face_has_its_record_and_both_pictures() -> None:
    ((face, shot),) = _measured([(100, 80, 90)])
    assert (face.face_id, face.footage_id, face.subset, face.pts_ms) == ("id0", FOOTAGE.footage_id, "cam1", 40)
    assert face.bbox == (100.0, 80.0, 190.0, 170.0)
    assert face.size_px == pytest.approx(90)
    assert face.rejected is None
    assert shot is not None
    assert shot.aligned_rgb.shape == (112, 112, 3)
    assert shot.context_rgb.shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("corner", "reason"),
    [
        ((100, 80, 23.0), "too_small"),
        ((100, 80, 25.0), None),
        ((-60, 80, 100), "outside_picture"),
        ((-30, 80, 100), None),
        ((350, 250, 100), "outside_picture"),
    ],
)
def test_a_dropped_face_has_its_reason_and_no_pictures(corner: tuple[float, float, float], reason: str | None) -> None:
    ((face, shot),) = _measured(
        [corner], FaceLimits(min_size_px=24.0, min_quality=0.0, max_yaw_deg=80.0, max_faces_per_frame=3, context_px=64)
    )
    assert face.rejected == reason
    assert (shot is None) == (reason is not None)


def test_a_face_of_low_quality_is_dropped() -> None:
    ((face, _),) = _measured(
        [(100, 80, 90)],
        FaceLimits(min_size_px=1, min_quality=1.0, max_yaw_deg=80.0, max_faces_per_frame=3, context_px=64),
    )
    assert face.rejected == "low_quality"


def test_a_head_that_is_turned_away_is_dropped() -> None:
    limits = replace(LIMITS, min_quality=0.0, max_yaw_deg=0.001)
    ((face, shot),) = _measured([(100, 80, 90)], limits)
    assert (face.rejected, shot) == ("extreme_pose", None)


def test_a_face_that_the_border_cuts_through_an_eye_is_dropped() -> None:
    ((face, _),) = _measured([(-36, 80, 100)], replace(LIMITS, min_quality=0.0))
    assert inside_share(face.bbox, 400, 300) > 0.6
    assert face.rejected == "outside_picture"


def test_only_the_best_scores_of_a_crowd_are_kept_and_all_are_recorded() -> None:
    measured = _measured([(10 + 60 * n, 100, 50) for n in range(6)])
    assert [face.rejected for face, _ in measured] == [None] * 3 + ["too_many_faces"] * 3
    assert [face.face_id for face, _ in measured] == [f"id{n}" for n in range(6)]


@given(x=st.floats(-500, 500), y=st.floats(-500, 500), w=st.floats(0, 900), h=st.floats(0, 900))
@settings(deadline=None, max_examples=60)
def test_the_share_inside_is_between_zero_and_one(x: float, y: float, w: float, h: float) -> None:
    assert 0 <= inside_share((x, y, x + w, y + h), 400, 300) <= 1 + 1e-9


def test_the_share_inside_is_that_of_the_area() -> None:
    assert inside_share((0, 0, 10, 10), 400, 300) == 1
    assert inside_share((-5, 0, 5, 10), 400, 300) == 0.5
    assert inside_share((-5, -5, 5, 5), 400, 300) == 0.25
    assert inside_share((500, 0, 510, 10), 400, 300) == 0
    assert inside_share((5, 5, 5, 5), 400, 300) == 0

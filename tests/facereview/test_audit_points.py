import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.vision.align import ARCFACE_TEMPLATE_PX, similarity_to_template
from facereview.quality.audit_points import TEMPLATE_PX, FloatArray, audit, summarise, template_scale
from facestore.errors import DataError

TURN = st.floats(-math.pi, math.pi)
SIZE = st.floats(0.05, 40)
SHIFT = st.floats(-5000, 5000)
OFF = st.lists(st.floats(-8, 8), min_size=10, max_size=10)


def _placed(points_px: FloatArray, *, size: float, turn: float, right: float, down: float) -> FloatArray:
    """Points of the aligned crop as a frame shows them: `size` px of the frame for one of the crop."""
    cosine, sine = math.cos(turn), math.sin(turn)
    rotation = np.array([[cosine, -sine], [sine, cosine]])
    placed: FloatArray = size * points_px @ rotation.T + np.array([right, down])
    return placed


def test_template_is_the_one_that_crops_are_aligned_to() -> None:
    assert np.array_equal(TEMPLATE_PX.astype(np.float32), ARCFACE_TEMPLATE_PX)


@given(size=SIZE, turn=TURN, right=SHIFT, down=SHIFT, off=OFF)
def test_errors_are_px_of_the_crop_wherever_and_however_large_the_face_is(
    size: float, turn: float, right: float, down: float, off: list[float]
) -> None:
    human = TEMPLATE_PX + np.array(off).reshape(5, 2)
    expected = np.linalg.norm(human - TEMPLATE_PX, axis=1)
    found = audit(
        _placed(TEMPLATE_PX, size=size, turn=turn, right=right, down=down),
        _placed(human, size=size, turn=turn, right=right, down=down),
    )
    assert found.error_px == pytest.approx(expected, abs=1e-6)


@given(off=OFF, size=SIZE, turn=TURN)
def test_scale_is_that_of_the_alignment(off: list[float], size: float, turn: float) -> None:
    points_px = _placed(TEMPLATE_PX + np.array(off).reshape(5, 2), size=size, turn=turn, right=50, down=80)
    matrix = similarity_to_template(points_px.astype(np.float32))
    assert template_scale(points_px) == pytest.approx(math.sqrt(np.linalg.det(matrix[:, :2])), rel=1e-3)


@pytest.mark.parametrize(("off_px", "is_within"), [(0.0, True), (3.99, True), (4.01, False)])
def test_two_px_of_the_crop_are_four_of_a_face_twice_as_large(off_px: float, is_within: bool) -> None:
    detected = 2 * TEMPLATE_PX
    human = detected.copy()
    human[2, 0] += off_px
    found = audit(detected, human)
    assert found.is_within is is_within
    assert found.error_px == pytest.approx((0, 0, off_px / 2, 0, 0), abs=1e-9)


def test_points_may_come_flat_as_records_hold_them() -> None:
    assert audit(TEMPLATE_PX.ravel(), tuple(TEMPLATE_PX.ravel().tolist())) == audit(TEMPLATE_PX, TEMPLATE_PX)


@pytest.mark.parametrize(
    ("detected", "human", "says"),
    [
        (np.ones((5, 2)), TEMPLATE_PX, "on one spot"),
        (TEMPLATE_PX[:4], TEMPLATE_PX, r"detector points have shape \(4, 2\)"),
        (TEMPLATE_PX, TEMPLATE_PX * np.nan, "human points"),
        (np.full((5, 2), np.inf), TEMPLATE_PX, "detector points"),
    ],
)
def test_points_that_are_no_face_are_refused(detected: FloatArray, human: FloatArray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        audit(detected, human)


def test_summary_counts_faces_within_and_names_the_worst_of_each_point() -> None:
    nose_off = TEMPLATE_PX.copy()
    nose_off[2, 1] += 3
    eye_off = TEMPLATE_PX.copy()
    eye_off[0, 0] -= 1
    found = summarise([audit(TEMPLATE_PX, human) for human in (TEMPLATE_PX, nose_off, eye_off)])
    assert found.faces == 3
    assert found.within_share == pytest.approx(2 / 3)
    assert found.worst_px == pytest.approx((1, 0, 3, 0, 0), abs=1e-9)
    assert found.median_px == pytest.approx((0, 0, 0, 0, 0), abs=1e-9)


def test_summary_of_no_faces_claims_nothing() -> None:
    found = summarise([])
    assert found.faces == 0
    assert math.isnan(found.within_share)
    assert all(math.isnan(number) for number in (*found.median_px, *found.worst_px))

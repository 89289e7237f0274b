"""Pose: signs as written down, angles as projected, no failure on any landmarks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.vision.pose import _FACE_MM, head_pose

DEGREES = st.floats(-35, 35)


def _turn(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Rotation, x right, y down, z away: yaw > 0 looks right, pitch > 0 down, roll > 0 clockwise as seen."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, dtype=np.float64)


def _landmarks(
    yaw: float, pitch: float, roll: float, *, mm_per_px: float = 0.8, shift_px: float = 300.0
) -> NDArray[np.float32]:
    """The model face, turned and seen from 700 mm through a real lens (perspective, not the method's own model)."""
    points = _FACE_MM @ _turn(yaw, pitch, roll).T
    scale = 700.0 / (700.0 + points[:, 2:]) / mm_per_px
    return (points[:, :2] * scale + shift_px).astype(np.float32)


@given(yaw=DEGREES, pitch=st.floats(-20, 20))
@settings(deadline=None, max_examples=60)
def test_projected_angles_come_back_within_ten_degrees(yaw: float, pitch: float) -> None:
    pose = head_pose(_landmarks(yaw, pitch, 0.0))
    assert pose.yaw == pytest.approx(yaw, abs=10)
    assert pose.pitch == pytest.approx(pitch, abs=10)
    assert pose.roll == pytest.approx(0, abs=10)


@given(roll=st.floats(-60, 60))
@settings(deadline=None, max_examples=30)
def test_a_tilted_head_has_its_roll(roll: float) -> None:
    assert head_pose(_landmarks(0.0, 0.0, roll)).roll == pytest.approx(roll, abs=3)


@given(yaw=DEGREES, pitch=st.floats(-20, 20), roll=st.floats(-25, 25))
@settings(deadline=None, max_examples=60)
def test_a_mirror_turns_yaw_and_roll_round_and_leaves_pitch(yaw: float, pitch: float, roll: float) -> None:
    seen = _landmarks(yaw, pitch, roll)
    mirrored = seen.copy()
    mirrored[:, 0] = 600 - mirrored[:, 0]
    here, there = head_pose(seen), head_pose(mirrored[[1, 0, 2, 4, 3]])
    assert there.yaw == pytest.approx(-here.yaw, abs=0.1)
    assert there.roll == pytest.approx(-here.roll, abs=0.1)
    assert there.pitch == pytest.approx(here.pitch, abs=0.1)


@given(scale=st.floats(0.05, 8), shift=st.floats(-2000, 2000))
@settings(deadline=None, max_examples=30)
def test_size_and_place_do_not_matter(scale: float, shift: float) -> None:
    pose = head_pose(_landmarks(20.0, 5.0, 10.0, mm_per_px=1 / scale, shift_px=shift))
    same = head_pose(_landmarks(20.0, 5.0, 10.0))
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((same.yaw, same.pitch, same.roll), abs=1.5)


@given(points=st.lists(st.floats(-1e4, 1e4, width=32), min_size=10, max_size=10))
@settings(deadline=None, max_examples=60)
def test_any_landmarks_have_a_finite_pose(points: list[float]) -> None:
    pose = head_pose(np.array(points, dtype=np.float32).reshape(5, 2))
    assert all(np.isfinite([pose.yaw, pose.pitch, pose.roll]))
    assert abs(pose.pitch) <= 90
    assert max(abs(pose.yaw), abs(pose.roll)) <= 180


def test_a_nose_to_image_right_is_a_look_to_image_right() -> None:
    frontal = _landmarks(0, 0, 0)
    right = frontal.copy()
    right[2, 0] += 12
    lower = frontal.copy()
    lower[2, 1] += 10
    assert head_pose(right).yaw > 10
    assert head_pose(lower).pitch > head_pose(frontal).pitch + 5

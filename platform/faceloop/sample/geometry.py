"""Where things fall in the frame: camera and actor matrices, and the face boxes that follow from them."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceloop.sample.people import Cutout
from faceloop.sample.scene import CameraKey, Pose, Shot
from faceloop.sample.truth import Box

Matrix = npt.NDArray[np.float64]  # (3, 3), homogeneous, column vectors
MARGIN = 0.16  # of the frame on each side that the background reaches beyond it
PERSPECTIVE_PER_YAW = 0.10  # change of depth over one face width
SQUEEZE_PER_YAW = 0.07
SOLID_SHARE = 0.76  # of what a cutout shows below the face: the rest is its fading end
WAVES_HZ = (0.9, 2.3, 4.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Size of the displayed frame, px."""

    width: int
    height: int

    @property
    def short_px(self) -> int:
        return min(self.width, self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One actor in one frame: `matrix` maps cutout px to frame px; `visible` is the share of the face in view.

    `box` is clipped to the frame.
    """

    person: str
    matrix: Matrix
    box: Box
    visible: float


def pose_at(poses: tuple[Pose, ...], time_s: float) -> Pose | None:
    """Pose at `time_s`, eased between key poses; None before the first, or after the last of several."""
    first, last = poses[0], poses[-1]
    if time_s < first.at_s or (len(poses) > 1 and time_s > last.at_s):
        return None
    times = [pose.at_s for pose in poses]
    x, size, lift, roll, yaw = (
        _eased(time_s, times, [getattr(pose, name) for pose in poses])
        for name in ("x", "size", "lift", "roll_deg", "yaw")
    )
    return Pose(at_s=time_s, x=x, size=size, lift=lift, roll_deg=roll, yaw=yaw)


def camera_at(keys: tuple[CameraKey, ...], time_s: float) -> CameraKey:
    """Camera at `time_s`, eased between its keys and still outside them."""
    times = [key.at_s for key in keys]
    shift_x, shift_y, zoom, light = (
        _eased(time_s, times, [getattr(key, name) for key in keys]) for name in ("shift_x", "shift_y", "zoom", "light")
    )
    return CameraKey(at_s=time_s, shift_x=shift_x, shift_y=shift_y, zoom=zoom, light=light)


def shot_time(shot: Shot, time_s: float) -> float:
    """Time that the picture shows at `time_s`: within a freeze it stands at the freeze's start."""
    for freeze in shot.freezes:
        if freeze.start_s <= time_s < freeze.end_s:
            return freeze.start_s
    return time_s


def camera_matrix(shot: Shot, frame: Frame, time_s: float, phases: npt.NDArray[np.float64]) -> Matrix:
    """Unmoved frame px → frame px; `phases` (3, 3) in radians fix the shake of x, y and roll."""
    camera = camera_at(shot.camera, time_s)
    angles = 2 * math.pi * np.array(WAVES_HZ) * time_s + phases
    shake_x, shake_y, shake_roll = (np.sin(angles) / np.array([1.0, 2.0, 4.0])).sum(axis=1) * shot.shake
    centre_x = frame.width * (0.5 + camera.shift_x) + shake_x * frame.short_px
    centre_y = frame.height * (0.5 + camera.shift_y) + shake_y * frame.short_px
    return (
        _shift(frame.width / 2, frame.height / 2)
        @ _turn_and_scale(math.degrees(shake_roll), camera.zoom)
        @ _shift(-centre_x, -centre_y)
    )


def background_matrix(width: int, height: int, frame: Frame) -> Matrix:
    """Background photo px → unmoved frame px: cover the frame and its margin, centred."""
    reach = 1 + 2 * MARGIN
    scale = max(frame.width * reach / width, frame.height * reach / height)
    centred = _shift(frame.width / 2, frame.height / 2) @ _turn_and_scale(0.0, scale)
    return centred @ _shift(-width / 2, -height / 2)


def place(cutout: Cutout, pose: Pose, frame: Frame, camera: Matrix) -> Placed:
    """Put a cutout at `pose` under a camera matrix."""
    x1, y1, x2, y2 = cutout.face
    width, height = x2 - x1, y2 - y1
    turn = np.array([[1.0 - SQUEEZE_PER_YAW * abs(pose.yaw), 0, 0], [0, 1, 0], [0, 0, 1]])
    turn[2, 0] = PERSPECTIVE_PER_YAW * pose.yaw / width
    scale = pose.size * frame.short_px / width
    below_px = (cutout.alpha.shape[0] - (y1 + y2) / 2) * SOLID_SHARE * scale
    stand = _shift(pose.x * frame.width, (1 - pose.lift) * frame.height - below_px) @ _turn_and_scale(
        pose.roll_deg, scale
    )
    matrix = camera @ stand @ turn @ _shift(-(x1 + x2) / 2, -(y1 + y2) / 2)
    full = _oval_box(matrix, (x1 + x2) / 2, (y1 + y2) / 2, width / 2, height / 2)
    clipped = (
        max(full[0], 0.0),
        max(full[1], 0.0),
        min(full[2], float(frame.width)),
        min(full[3], float(frame.height)),
    )
    in_view = max(clipped[2] - clipped[0], 0.0) * max(clipped[3] - clipped[1], 0.0)
    visible = float(in_view / ((full[2] - full[0]) * (full[3] - full[1])))
    return Placed(person=cutout.person, matrix=matrix, box=clipped, visible=visible)


def _oval_box(matrix: Matrix, x: float, y: float, half_width: float, half_height: float) -> Box:
    """Box around the oval inscribed in a box, after `matrix` (its linear part at the centre).

    The corners of a turned box would give too wide a box for a face, which has none.
    """
    u, v, w = matrix @ np.array([x, y, 1.0])
    a, b = matrix[0] - matrix[2] * (u / w), matrix[1] - matrix[2] * (v / w)
    reach_x = math.hypot(a[0] * half_width, a[1] * half_height) / abs(w)
    reach_y = math.hypot(b[0] * half_width, b[1] * half_height) / abs(w)
    return u / w - reach_x, v / w - reach_y, u / w + reach_x, v / w + reach_y


def _eased(time_s: float, times: list[float], values: list[float]) -> float:
    """Value at `time_s`: half a cosine between keys, so that movement starts and stops softly."""
    place_in_keys = float(np.interp(time_s, times, np.arange(len(times))))
    whole = min(int(place_in_keys), len(times) - 1)
    if whole == len(times) - 1:
        return values[whole]
    share = 0.5 - 0.5 * math.cos(math.pi * (place_in_keys - whole))
    return values[whole] + (values[whole + 1] - values[whole]) * share


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def _turn_and_scale(roll_deg: float, scale: float) -> Matrix:
    c, s = math.cos(math.radians(roll_deg)) * scale, math.sin(math.radians(roll_deg)) * scale
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

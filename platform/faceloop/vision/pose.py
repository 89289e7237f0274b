"""Head pose from five landmarks: yaw, pitch and roll by fitting a rigid 3-D face under weak perspective.

Method: scaled orthographic projection (DeMenthon & Davis, IJCV 1995), solved in closed form by least squares and
Gram–Schmidt; good to about 10° for yaw, less for pitch, which five points hardly show.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

# Mean face, mm, x to image-right, y down, z away from the camera: eyes, nose tip, mouth corners.
_FACE_MM = np.array(
    [[-31.5, -33.0, 0.0], [31.5, -33.0, 0.0], [0.0, 0.0, -24.0], [-25.5, 32.0, 0.0], [25.5, 32.0, 0.0]],
    dtype=np.float64,
)
_FACE_MM -= _FACE_MM.mean(axis=0)
_SOLVE = np.linalg.pinv(_FACE_MM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Degrees. Yaw > 0: the face looks to image-right; pitch > 0: down; roll > 0: turned clockwise."""

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks_px: Float32Array) -> Pose:
    """Pose of (5, 2) landmarks, px: image-left eye, image-right eye, nose, mouth left, mouth right."""
    points = landmarks_px.astype(np.float64)
    rows = (_SOLVE @ (points - points.mean(axis=0))).T  # (2, 3): scaled first rows of the rotation
    scale = np.linalg.norm(rows, axis=1)
    if scale.min() < 1e-9:
        return Pose(yaw=0.0, pitch=0.0, roll=0.0)
    first = rows[0] / scale[0]
    second = rows[1] - (rows[1] @ first) * first
    second /= max(float(np.linalg.norm(second)), 1e-9)
    third = np.cross(first, second)
    matrix = np.stack([first, second, third])
    look = matrix @ np.array([0.0, 0.0, -1.0])
    eyes = points[1] - points[0]
    return Pose(
        yaw=float(np.degrees(np.arctan2(look[0], -look[2]))),
        pitch=float(np.degrees(np.arcsin(np.clip(look[1], -1.0, 1.0)))),
        roll=float(np.degrees(np.arctan2(eyes[1], eyes[0]))),
    )

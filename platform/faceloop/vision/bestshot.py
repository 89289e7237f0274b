"""Best shots of a tracklet: a few good faces that differ in pose and time, not the k sharpest of one moment.

Greedy farthest-first choice (Gonzalez, 1985) in (yaw, pitch, time), each distance weighted by the face's quality.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_YAW_SCALE_DEG = 45.0
_PITCH_SCALE_DEG = 30.0
_TIME_SCALE_S = 4.0


def best_shots(
    quality: FloatArray, yaw_deg: FloatArray, pitch_deg: FloatArray, time_s: FloatArray, count: int
) -> list[int]:
    """Rows of at most `count` best shots, best quality first, then by how much each adds. All inputs are (n,)."""
    if count < 1:
        raise ValueError(f"count must be at least 1, found {count}")
    places = np.stack([yaw_deg / _YAW_SCALE_DEG, pitch_deg / _PITCH_SCALE_DEG, time_s / _TIME_SCALE_S], axis=1)
    chosen = [int(np.argmax(quality))]
    while len(chosen) < min(count, len(quality)):
        distance = np.linalg.norm(places[:, None, :] - places[None, chosen, :], axis=2).min(axis=1)
        gain = quality * np.minimum(distance, 1.0)
        gain[chosen] = -1.0
        chosen.append(int(np.argmax(gain)))
    return chosen

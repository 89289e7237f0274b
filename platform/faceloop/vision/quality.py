"""How useful a face is for recognition: a vector of plain measures of the aligned crop, and their total in [0, 1].

The measures follow ISO/IEC 29794-5's component list (sharpness, exposure, size, pose, occlusion) in simple forms that
need no model; the total is their weighted geometric mean, so that one very bad component is enough to spoil a face.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceloop.vision.pose import Pose

UInt8Array = npt.NDArray[np.uint8]

_SHARP_AT = 0.075  # relative gradient energy of a sharp aligned crop
_LARGE_AT_PX = 90.0  # a face that fills the 112 px crop without upscaling
_GOOD_CONTRAST = 0.16
_DARK, _BRIGHT = 0.18, 0.85  # mean lumas outside of which a face loses detail
_YAW_LIMIT_DEG, _PITCH_LIMIT_DEG = 75.0, 70.0
_CHROMA_SPREAD = 14.0  # levels of Cr/Cb by which a patch may differ from the face's own skin
_WEIGHTS = {"sharpness": 0.30, "size": 0.25, "pose": 0.20, "exposure": 0.15, "occlusion": 0.10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """All in [0, 1]. `occlusion` is an estimate: the share of the face whose colour is not the face's own skin."""

    sharpness: float
    brightness: float
    contrast: float
    occlusion: float
    total: float


def _face_oval() -> npt.NDArray[np.bool_]:
    oval = np.zeros((112, 112), dtype=np.uint8)
    cv2.ellipse(oval, (56, 66), (34, 46), 0, 0, 360, (1,), -1)
    return oval.astype(bool)


_OVAL = _face_oval()
_CELL_PX = 8
_GRID = 112 // _CELL_PX
_CELLS = _OVAL.reshape(_GRID, _CELL_PX, _GRID, _CELL_PX).mean(axis=(1, 3)) > 0.8
_SKIN_CELLS = [(8, 4), (8, 5), (8, 8), (8, 9), (4, 6), (4, 7)]  # cheeks and forehead, (row, column)


def measure(crop_rgb: UInt8Array, *, size_px: float, pose: Pose) -> Quality:
    """Quality of an aligned crop, (112, 112, 3) RGB uint8; `size_px` is the face's size in the picture."""
    luma = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255.0
    face = luma[_OVAL]
    brightness, contrast = float(face.mean()), float(face.std())
    sharpness = _sharpness(luma, size_px)
    occlusion = occlusion_estimate(crop_rgb)
    components = {
        "sharpness": sharpness,
        "size": min(size_px / _LARGE_AT_PX, 1.0),
        "pose": _cosine_fall(pose.yaw, _YAW_LIMIT_DEG) * _cosine_fall(pose.pitch, _PITCH_LIMIT_DEG),
        "exposure": _exposure(brightness, contrast),
        "occlusion": 1.0 - occlusion,
    }
    total = np.exp(sum(weight * np.log(max(components[name], 1e-3)) for name, weight in _WEIGHTS.items()))
    return Quality(
        sharpness=sharpness, brightness=brightness, contrast=contrast, occlusion=occlusion, total=float(total)
    )


def _sharpness(luma: npt.NDArray[np.float32], size_px: float) -> float:
    """Energy of fine gradients relative to the contrast, so that light does not count; upscaled faces are soft."""
    fine = luma - cv2.GaussianBlur(luma, (0, 0), 1.5)
    contrast = max(float(luma[_OVAL].std()), 0.02)
    energy = float(fine[_OVAL].std()) / contrast
    upscaling = min(size_px / 112.0, 1.0) ** 0.5
    return float(min(energy / (4 * _SHARP_AT), 1.0) * upscaling)


def _cosine_fall(angle_deg: float, limit_deg: float) -> float:
    return float(np.cos(np.radians(90.0 * min(abs(angle_deg) / limit_deg, 1.0))))


def _exposure(brightness: float, contrast: float) -> float:
    dark = min(brightness / _DARK, 1.0)
    bright = min((1.0 - brightness) / (1.0 - _BRIGHT), 1.0)
    return max(dark * bright * min(contrast / _GOOD_CONTRAST, 1.0), 0.0)


def occlusion_estimate(crop_rgb: UInt8Array) -> float:
    """Share of the face oval whose chroma differs from the cheeks' and forehead's, [0, 1].

    Masks, hands in gloves, sunglasses and microphones stand out; a bare hand or grey light does not.
    """
    grid = cv2.resize(crop_rgb, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    chroma = cv2.cvtColor(grid, cv2.COLOR_RGB2YCrCb).astype(np.float32)[:, :, 1:]
    skin = np.median([chroma[cell] for cell in _SKIN_CELLS], axis=0)
    distance = np.abs(chroma - skin).max(axis=2)
    return float(np.mean(distance[_CELLS] > _CHROMA_SPREAD))

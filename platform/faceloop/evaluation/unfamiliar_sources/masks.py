"""Masked faces: a drawn mask over nose and mouth. Crops are aligned, so the places of the features are known."""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
_CLOTHS_RGB = ((120, 170, 205), (235, 235, 232), (40, 40, 44), (150, 90, 110))
# Of an aligned 112 × 112 crop, px: bridge of the nose, cheeks, jaw, chin.
_EDGE_PX = np.array([[56, 62], [80, 64], [93, 72], [88, 96], [72, 111], [40, 111], [24, 96], [19, 72], [32, 64]])
_LOOPS_PX = (((93, 74), (111, 60)), ((19, 74), (0, 60)))
_FINE = 4  # bits of sub-pixel places


def masked(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """The same face with a cloth mask: an aligned crop (112, 112, 3) uint8 to the same."""
    colour = np.array(_CLOTHS_RGB[int(rng.integers(len(_CLOTHS_RGB)))], np.float64)
    edge = _EDGE_PX + rng.uniform(-1.5, 1.5, _EDGE_PX.shape)
    cover = np.zeros(crop_rgb.shape[:2], np.uint8)
    cv2.fillPoly(cover, [np.round(edge * 2**_FINE).astype(np.int32)], (255,), cv2.LINE_AA, _FINE)
    rows, columns = np.mgrid[0 : cover.shape[0], 0 : cover.shape[1]].astype(np.float64)
    roundness = 1.08 - 0.3 * ((columns - 56) / 40) ** 2 - 0.12 * (rows - 62) / 50
    folds = 1 - 0.10 * (np.abs((rows - 72) % 11 - 5.5) < 0.8)
    cloth = np.clip(colour * (roundness * folds)[:, :, None] + rng.normal(0, 3, crop_rgb.shape), 0, 255)
    share = cover[:, :, None] / 255
    worn = np.array(np.round(cloth * share + crop_rgb * (1 - share)), np.uint8)
    for start, end in _LOOPS_PX:
        cv2.line(worn, start, end, tuple(int(part) for part in colour), 1, cv2.LINE_AA)
    return worn

"""Statues: the shape of a face in plaster, without pupils, brows and the colours of skin."""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
_STONE_RGB = np.array([0.98, 0.96, 0.90], np.float32)


def plastered(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """A grey cast lit from one side: (h, w, 3) uint8 to the same.

    Small dark parts (pupils, brows, lashes) are closed over; light comes from the slope of what is left, so that the
    picture keeps the relief of the face and loses its paint.
    """
    luma = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY)
    closed = cv2.morphologyEx(luma, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    height = np.asarray(cv2.GaussianBlur(cv2.bilateralFilter(closed, 9, 30, 5), (0, 0), 1.2), np.float32) / 255
    right, down = cv2.Sobel(height, cv2.CV_32F, 1, 0), cv2.Sobel(height, cv2.CV_32F, 0, 1)
    angle = float(rng.uniform(-2.6, -0.5))  # from above
    light = right * np.float32(np.cos(angle)) + down * np.float32(np.sin(angle))
    stone = 0.62 + 0.75 * (height - height.mean()) + 0.6 * light
    grain = np.asarray(rng.normal(0, 0.05, luma.shape), np.float32)
    shade = np.clip(stone + cv2.GaussianBlur(grain, (0, 0), 0.8), 0, 1)[:, :, None] * _STONE_RGB
    return np.asarray(np.clip(shade * 255, 0, 255), np.uint8)

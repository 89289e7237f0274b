"""Drawings of a face: outlines, pencil, cartoon."""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]


def outlined(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Black lines on white where the picture changes: (h, w, 3) uint8 to the same."""
    luma = cv2.cvtColor(cv2.bilateralFilter(crop_rgb, 7, 45, 5), cv2.COLOR_RGB2GRAY)
    low = float(rng.uniform(25, 45))
    lines = cv2.Canny(luma, low, 2.5 * low)
    soft = cv2.GaussianBlur(255 - lines, (0, 0), 0.6)
    return _rgb(soft)


def pencilled(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Pencil on paper: luma divided by the blur of its negative (colour dodge), with grain."""
    luma = cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(255 - luma, (0, 0), float(rng.uniform(4, 7)))
    dodged = np.minimum(luma * 255 / np.maximum(255 - blurred, 1), 255)
    grain = rng.normal(0, 7, luma.shape)
    return _rgb(np.clip(dodged * 0.9 + 10 + grain, 0, 255).astype(np.uint8))


def cartooned(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Few flat colours with dark outlines."""
    flat = crop_rgb
    for _ in range(3):
        flat = np.asarray(cv2.bilateralFilter(flat, 9, 40, 7), np.uint8)
    step = int(rng.integers(36, 56))
    flat = (flat // step * step + step // 2).astype(np.uint8)
    luma = cv2.medianBlur(cv2.cvtColor(crop_rgb, cv2.COLOR_RGB2GRAY), 5)
    is_line = cv2.adaptiveThreshold(luma, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 5) == 0
    vivid = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV)
    vivid[:, :, 1] = np.minimum(vivid[:, :, 1].astype(np.int64) * 3 // 2, 255)
    drawn = np.array(cv2.cvtColor(vivid, cv2.COLOR_HSV2RGB), np.uint8)
    drawn[is_line] = 25
    return drawn


def _rgb(luma: NDArray[np.uint8] | NDArray[np.generic]) -> UInt8Array:
    return np.repeat(np.asarray(luma, np.uint8)[:, :, None], 3, axis=2)

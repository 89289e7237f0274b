"""Printed photos of a face: dots of a press on paper, held at an angle, with the glare of a lamp."""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
_ENLARGED = 3  # the press works finer than the crop
_INK = 0.35  # share of the dots in what is seen


def printed(crop_rgb: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """A newspaper picture photographed again: (h, w, 3) uint8 to the same."""
    side = crop_rgb.shape[0]
    large = cv2.resize(crop_rgb, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    dotted = _halftone((np.asarray(large, np.float32) / np.float32(255)).astype(np.float32), rng)
    paper = 1 + cv2.GaussianBlur(rng.normal(0, 0.25, dotted.shape[:2]).astype(np.float32), (0, 0), 2)[:, :, None]
    sheet = np.clip((0.1 + 0.82 * dotted) * paper * np.array([1.0, 0.98, 0.92], np.float32), 0, 1)
    held = _held(sheet, rng)
    glared = np.clip(held + _glare(held.shape[0], rng), 0, 1)
    small = cv2.resize(glared, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small * 255, 0, 255), np.uint8)


def _halftone(picture: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Each colour as dots on a screen of its own angle; much of the continuous tone stays, as ink bleeds."""
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    pitch_px = float(rng.uniform(6.5, 8.0))
    screens = []
    for degrees in (15.0, 75.0, 45.0):
        turn = np.radians(degrees)
        along = (columns * np.cos(turn) + rows * np.sin(turn)) * (2 * np.pi / pitch_px)
        across = (rows * np.cos(turn) - columns * np.sin(turn)) * (2 * np.pi / pitch_px)
        screens.append(0.5 + 0.25 * (np.cos(along) + np.cos(across)))
    dots = np.clip((picture - np.stack(screens, axis=2)) * 4 + 0.5, 0, 1)
    return np.asarray(_INK * dots + (1 - _INK) * picture, np.float32)


def _held(sheet: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    side = sheet.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = corners + rng.uniform(-0.07, 0.07, (4, 2)).astype(np.float32) * side
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    desk = (0.35, 0.28, 0.2)
    return np.asarray(cv2.warpPerspective(sheet, matrix, (side, side), borderValue=desk), np.float32)


def _glare(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    place = rng.uniform(0.15, 0.85, 2)
    wide, high = rng.uniform(0.1, 0.3, 2)
    spot = np.exp(-(((columns - place[0]) / wide) ** 2) - ((rows - place[1]) / high) ** 2)
    return np.asarray(0.45 * spot[:, :, None], np.float32)

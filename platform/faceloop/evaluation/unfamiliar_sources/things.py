"""Pictures without a face: pieces of the photos that installed packages ship, patterns, drawn hands."""

import cv2
import numpy as np
from numpy.typing import NDArray

from faceloop.sample.photos import BRICK, COFFEE, FLOWER, ROCKET, TEMPLE, read_photo
from faceloop.vision.align import CROP_SIDE_PX

UInt8Array = NDArray[np.uint8]
_PHOTOS = (BRICK, COFFEE, FLOWER, ROCKET, TEMPLE)
_SIDE = CROP_SIDE_PX


def photographed(rng: np.random.Generator) -> UInt8Array:
    """A random square of a photo of things, (112, 112, 3) uint8. Raises DataError where a package ships another one."""
    photo = read_photo(_PHOTOS[int(rng.integers(len(_PHOTOS)))])
    side = int(rng.integers(_SIDE, min(photo.shape[:2]) + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    piece = photo[top : top + side, left : left + side]
    return np.asarray(cv2.resize(piece, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def patterned(rng: np.random.Generator) -> UInt8Array:
    """Stripes, squares, rings, clouds or noise in two colours, (112, 112, 3) uint8."""
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float64)
    pitch_px, phase = float(rng.uniform(6, 40)), float(rng.uniform(0, 6.28))
    centre = rng.uniform(20, 90, 2)
    shapes = (
        lambda: np.sin((rows * np.cos(phase) + columns * np.sin(phase)) * 6.28 / pitch_px),
        lambda: np.sign(np.sin(rows * 6.28 / pitch_px)) * np.sign(np.sin(columns * 6.28 / pitch_px + phase)),
        lambda: np.sin(np.hypot(rows - centre[0], columns - centre[1]) * 6.28 / pitch_px),
        lambda: cv2.GaussianBlur(rng.normal(0, 1, rows.shape), (0, 0), pitch_px / 3) * pitch_px,
        lambda: rng.normal(0, 0.6, rows.shape),
    )
    shape = shapes[int(rng.integers(len(shapes)))]()
    share = np.clip(0.5 + 0.5 * shape, 0, 1)[:, :, None]
    first, second = rng.uniform(0, 255, (2, 3))
    return np.asarray(np.clip(first * share + second * (1 - share), 0, 255), np.uint8)


def hand_drawn(rng: np.random.Generator) -> UInt8Array:
    """A hand in the colours of skin before a plain wall, (112, 112, 3) uint8."""
    skin = rng.uniform(70, 235) * np.array([1.0, 0.78, 0.65])
    wall = rng.uniform(60, 220, 3)
    picture = np.full((_SIDE, _SIDE, 3), wall, np.float32)
    tone = tuple(float(part) for part in skin)
    shade = tuple(float(part) * 0.82 for part in skin)
    palm = (56, 76)
    cv2.ellipse(picture, palm, (24, 28), 0, 0, 360, tone, -1, cv2.LINE_AA)
    spread = float(rng.uniform(0.75, 1.15))
    for degrees, length_px, width_px in ((-34, 40, 10), (-12, 52, 11), (8, 55, 11), (27, 50, 11), (74, 38, 12)):
        turn = np.radians(degrees * spread)
        root = (palm[0] + 20 * np.sin(turn), palm[1] - 20 * np.cos(turn))
        tip = (palm[0] + (20 + length_px) * np.sin(turn) * 0.95, palm[1] - (10 + length_px) * np.cos(turn))
        ends = [(round(float(x)), round(float(y))) for x, y in (root, tip)]
        cv2.line(picture, ends[0], ends[1], shade, width_px + 2, cv2.LINE_AA)
        cv2.line(picture, ends[0], ends[1], tone, width_px, cv2.LINE_AA)
    soft = cv2.GaussianBlur(picture, (0, 0), 0.7) + rng.normal(0, 4, picture.shape)
    return np.asarray(np.clip(soft, 0, 255), np.uint8)

"""Masks, sunglasses and boxes, drawn where the alignment template has the face.

Shapes where MaskTheFace (Anwar and Raychowdhury, 2020) pastes pictures of masks: nothing to license, and the model
learns to do without the covered part, not how a certain mask looks.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]

_MASK_PX: Float64Array = np.array(
    [(56, 64), (84, 70), (94, 84), (86, 102), (70, 116), (42, 116), (26, 102), (18, 84), (28, 70)], np.float64
)  # around nose (56, 72) and mouth (41–71, 92) of the 112 × 112 template
_EYES_PX: Float64Array = np.array([[38.3, 52.5], [73.5, 52.5]])
_BRIDGE_PX: Float64Array = np.array([[52.0, 50.0], [60.0, 50.0]])
_TEMPLES_PX: Float64Array = np.array([[10.0, 50.0], [102.0, 50.0]])
_AROUND: Float64Array = np.linspace(0, 2 * np.pi, 16, endpoint=False, dtype=np.float64)
_MASK_COLOURS = ((235, 238, 240), (150, 190, 220), (40, 42, 46), (120, 170, 150), (210, 180, 190))


def with_mask(image_rgb: UInt8Array, template_to_image: Float64Array, draws: Float64Array) -> UInt8Array:
    """A mask over nose and mouth, up to 7 px higher or lower. `template_to_image` (2, 3), `draws` (3,) in [0, 1)."""
    colour = np.array(_MASK_COLOURS[int(draws[0] * len(_MASK_COLOURS))]) * (0.7 + 0.3 * draws[1])
    shape = _MASK_PX + np.array([0.0, 14.0 * (draws[2] - 0.5)])
    return _filled(image_rgb, [_moved(shape, template_to_image)], colour)


def with_sunglasses(image_rgb: UInt8Array, template_to_image: Float64Array, draws: Float64Array) -> UInt8Array:
    """Dark glasses of drawn size and shade; arguments as `with_mask`'s."""
    shade = np.array([60.0, 52.0, 48.0]) * draws[0]
    size_px = np.array([14.0 + 4.0 * draws[1], 10.0 + 5.0 * draws[2]])
    rim = np.stack([np.cos(_AROUND), np.sin(_AROUND)], axis=1) * size_px
    shapes = [_moved(eye + rim, template_to_image) for eye in _EYES_PX]
    outer = _EYES_PX + np.array([[-size_px[0], -2.0], [size_px[0], -2.0]])
    bars = [_BRIDGE_PX, np.stack([_TEMPLES_PX[0], outer[0]]), np.stack([outer[1], _TEMPLES_PX[1]])]
    shapes += [_moved(np.concatenate([bar, bar[::-1] + np.array([0.0, 3.0])]), template_to_image) for bar in bars]
    return _filled(image_rgb, shapes, shade)


def with_box(image_rgb: UInt8Array, largest_share: float, draws: Float64Array) -> UInt8Array:
    """A box of one colour anywhere (Zhong et al., Random Erasing, AAAI 2020). `draws` (7,) in [0, 1)."""
    side_px = image_rgb.shape[0]
    width, height = np.maximum(1, side_px * largest_share * (0.25 + 0.75 * draws[:2])).astype(int)
    left, top = int(draws[2] * (side_px - width + 1)), int(draws[3] * (side_px - height + 1))
    covered = image_rgb.copy()
    covered[top : top + height, left : left + width] = (255 * draws[4:7]).astype(np.uint8)
    return covered


def _moved(points_px: Float64Array, matrix: Float64Array) -> Float64Array:
    return points_px @ matrix[:, :2].T + matrix[:, 2]


def _filled(image_rgb: UInt8Array, shapes: list[Float64Array], colour: Float64Array) -> UInt8Array:
    covered = image_rgb.copy()
    for shape in shapes:
        points = np.rint(shape * 16).astype(np.int32)  # sixteenths of a pixel
        cv2.fillPoly(covered, [points], colour.tolist(), lineType=cv2.LINE_AA, shift=4)
    return covered

"""Where to look for faces: at a bounded size, with a finer look now and then so that small faces stay findable.

Detectors place landmarks best on faces of the size they were trained on, and recognisers are sensitive to where the
landmarks are. So a face found in several looks is taken from the one that shows it nearest to `_BEST_SIZE_PX`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faceloop.footage.decode import Picture
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.detections import Detections, Detector, suppress_overlaps

_BEST_SIZE_PX = 160.0  # of a face in the detector's input
_LARGE_PX = 240.0  # above: look again at half the size
_PAD_SHARE = 0.3
_SAME_FACE_IOU = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class LookParams:
    long_side_px: int
    detail_long_side_px: int
    detail_every: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Faces in px of the full picture, and how many of those px one px of the detector's input is."""

    found: Detections
    scale: float

    def input_sizes_px(self) -> Float32Array:
        """Size of each face in the detector's input, (n,)."""
        sides = self.found.boxes_xyxy_px[:, 2:] - self.found.boxes_xyxy_px[:, :2]
        return np.asarray(np.sqrt(np.maximum(sides.prod(axis=1), 1e-6)) / self.scale, dtype=np.float32)


def look_at_frame(detector: Detector, picture: Picture, number: int, params: LookParams) -> Detections:
    """Faces of the `number`-th picture of a video that is looked at, in px of the full picture."""
    return _pyramid(detector, picture, params, is_detailed=number % params.detail_every == 0 or picture.is_cut)


def look_at_photo(detector: Detector, picture: Picture, params: LookParams) -> Detections:
    """Faces of a photo; where there are none, smaller, and with a border around it: a face may fill the picture."""
    found = _pyramid(detector, picture, params, is_detailed=True)
    if not len(found):
        found = _look(detector, picture, params.long_side_px // 2).found
    return found if len(found) else _look_with_border(detector, picture.full_bgr(), params.long_side_px)


def _pyramid(detector: Detector, picture: Picture, params: LookParams, *, is_detailed: bool) -> Detections:
    looks = [_look(detector, picture, params.long_side_px)]
    if is_detailed and max(picture.width, picture.height) > params.long_side_px:
        looks.append(_look(detector, picture, params.detail_long_side_px))
    if len(looks[0].found) and looks[0].input_sizes_px().max() > _LARGE_PX:
        looks.append(_look(detector, picture, params.long_side_px // 2))
    return merge(looks)


def merge(looks: Sequence[Look]) -> Detections:
    """The faces of all looks, each once, best score first; of several sights of one face the best-sized."""
    if len(looks) == 1:
        return looks[0].found
    every = Detections(
        boxes_xyxy_px=np.concatenate([look.found.boxes_xyxy_px for look in looks]),
        landmarks_px=np.concatenate([look.found.landmarks_px for look in looks]),
        scores=np.concatenate([look.found.scores for look in looks]),
    )
    sizes_px = np.concatenate([look.input_sizes_px() for look in looks])
    fitness = -np.abs(np.log2(sizes_px / np.float32(_BEST_SIZE_PX)))
    kept = every.select(suppress_overlaps(every.boxes_xyxy_px, fitness, max_iou=_SAME_FACE_IOU))
    return kept.select(np.argsort(-kept.scores, kind="stable"))


def _look(detector: Detector, picture: Picture, long_side_px: int) -> Look:
    small = picture.small_bgr(long_side_px)
    found = detector.detect(small, long_side_px=long_side_px)
    scale = np.array([picture.width / small.shape[1], picture.height / small.shape[0]], dtype=np.float32)
    full = Detections(
        boxes_xyxy_px=found.boxes_xyxy_px * np.tile(scale, 2),
        landmarks_px=found.landmarks_px * scale,
        scores=found.scores,
    )
    return Look(found=full, scale=float(scale[0]))


def _look_with_border(detector: Detector, image_bgr: UInt8Array, long_side_px: int) -> Detections:
    pad = round(_PAD_SHARE * max(image_bgr.shape[:2]))
    padded = np.asarray(cv2.copyMakeBorder(image_bgr, pad, pad, pad, pad, cv2.BORDER_CONSTANT), dtype=np.uint8)
    found = detector.detect(padded, long_side_px=long_side_px)
    shift = np.float32(pad)
    return Detections(
        boxes_xyxy_px=found.boxes_xyxy_px - shift, landmarks_px=found.landmarks_px - shift, scores=found.scores
    )


def context_crop(image_bgr: UInt8Array, box_px: tuple[float, ...], side_px: int) -> UInt8Array:
    """A square RGB picture around a face for people to look at: 2.2 times the box, (side_px, side_px, 3).

    The picture's edge is repeated where the square reaches over it.
    """
    x1, y1, x2, y2 = box_px
    half = max(1.1 * max(x2 - x1, y2 - y1), 4.0)
    left, top = round((x1 + x2) / 2 - half), round((y1 + y2) / 2 - half)
    side = round(2 * half)
    height, width = image_bgr.shape[:2]
    inside = image_bgr[
        min(max(top, 0), height - 1) : max(min(top + side, height), 1),
        min(max(left, 0), width - 1) : max(min(left + side, width), 1),
    ]
    above, below = max(-top, 0), max(top + side - height, 0)
    before, after = max(-left, 0), max(left + side - width, 0)
    square = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if side > side_px else cv2.INTER_CUBIC
    crop = cv2.resize(square, (side_px, side_px), interpolation=interpolation)
    return np.ascontiguousarray(crop[:, :, ::-1], dtype=np.uint8)

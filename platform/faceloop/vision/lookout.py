"""Where to look for faces: at a bounded size, with a finer look now and then so that small faces stay findable."""

from dataclasses import dataclass

import cv2
import numpy as np

from faceloop.footage.decode import Picture
from faceloop.vision.arrays import UInt8Array
from faceloop.vision.detections import Detections, Detector, suppress_overlaps

_PHOTO_RETRY_PX = 320  # a face that fills the picture is larger than what detectors are trained on
_PAD_SHARE = 0.3
_SAME_FACE_IOU = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class LookParams:
    long_side_px: int
    detail_long_side_px: int
    detail_every: int


def look_at_frame(detector: Detector, picture: Picture, number: int, params: LookParams) -> Detections:
    """Faces of the `number`-th picture of a video that is looked at, in px of the full picture."""
    is_detailed = number % params.detail_every == 0 or picture.is_cut
    return _look(detector, picture, params.detail_long_side_px if is_detailed else params.long_side_px)


def look_at_photo(detector: Detector, picture: Picture, params: LookParams) -> Detections:
    """Faces of a photo: both sizes together; where they find none, smaller and with a border around it."""
    found = _look(detector, picture, params.long_side_px)
    if max(picture.width, picture.height) > params.long_side_px:
        found = merge(found, _look(detector, picture, params.detail_long_side_px))
    if not len(found):
        found = _look(detector, picture, _PHOTO_RETRY_PX)
    return found if len(found) else _look_with_border(detector, picture.full_bgr(), params.long_side_px)


def merge(first: Detections, second: Detections) -> Detections:
    """Both sets, of two faces on one place the better."""
    both = Detections(
        boxes_xyxy_px=np.concatenate([first.boxes_xyxy_px, second.boxes_xyxy_px]),
        landmarks_px=np.concatenate([first.landmarks_px, second.landmarks_px]),
        scores=np.concatenate([first.scores, second.scores]),
    )
    return both.select(suppress_overlaps(both.boxes_xyxy_px, both.scores, max_iou=_SAME_FACE_IOU))


def _look(detector: Detector, picture: Picture, long_side_px: int) -> Detections:
    small = picture.small_bgr(long_side_px)
    found = detector.detect(small, long_side_px=long_side_px)
    scale = np.array([picture.width / small.shape[1], picture.height / small.shape[0]], dtype=np.float32)
    return Detections(
        boxes_xyxy_px=found.boxes_xyxy_px * np.tile(scale, 2),
        landmarks_px=found.landmarks_px * scale,
        scores=found.scores,
    )


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

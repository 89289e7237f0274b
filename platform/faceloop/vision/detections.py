"""What a detector gives, and the geometry that all detectors share: letterbox in, suppression out."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from faceloop.boxes import pairwise_iou
from faceloop.vision.arrays import BoolArray, Float32Array, UInt8Array
from facestore.errors import DataError

MAX_CANDIDATES = 5000  # OpenCV's own bound for YuNet: keeps suppression from growing with a noisy frame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """The faces of one image, best score first, in pixels of that image.

    `boxes_xyxy_px` float32 (n, 4): x1, y1, x2, y2, may reach over the border. `landmarks_px` float32
    (n, 5, 2): eyes, nose, mouth corners, left before right AS SEEN IN THE IMAGE (the ArcFace order).
    `scores` float32 (n,) in [0, 1]. Raises DataError for any other shape or dtype.
    """

    boxes_xyxy_px: Float32Array
    landmarks_px: Float32Array
    scores: Float32Array

    def __post_init__(self) -> None:
        faces = len(self.scores)
        expected = (("boxes_xyxy_px", (faces, 4)), ("landmarks_px", (faces, 5, 2)), ("scores", (faces,)))
        for name, shape in expected:
            found = getattr(self, name)
            if found.shape != shape or found.dtype != np.float32:
                raise DataError(f"{name} is {found.dtype} {found.shape}, expected float32 {shape}; fix the detector")

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: BoolArray | NDArray[np.intp]) -> "Detections":
        """The faces of a boolean mask (n,) or of row numbers, in that order."""
        return Detections(
            boxes_xyxy_px=self.boxes_xyxy_px[rows],
            landmarks_px=self.landmarks_px[rows],
            scores=self.scores[rows],
        )


class Detector(Protocol):
    """Finds faces. `image_bgr` is uint8 (h, w, 3); it is looked at with its longer side at `long_side_px`.

    Never upsized unless the detector was opened so. Raises DataError for another shape or dtype.
    """

    def detect(self, image_bgr: UInt8Array, *, long_side_px: int) -> Detections: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Letterbox:
    """An image resized and padded at right and bottom with black; `scale_xy` = its pixels per image pixel."""

    image_bgr: UInt8Array
    scale_xy: Float32Array  # (2,)

    def to_image(self, boxes_xyxy_px: Float32Array, landmarks_px: Float32Array, scores: Float32Array) -> Detections:
        """Detections found in the letterbox, in pixels of the original image."""
        return Detections(
            boxes_xyxy_px=np.asarray(boxes_xyxy_px / np.tile(self.scale_xy, 2), dtype=np.float32),
            landmarks_px=np.asarray(landmarks_px / self.scale_xy, dtype=np.float32),
            scores=np.asarray(scores, dtype=np.float32),
        )


def letterbox(
    image_bgr: UInt8Array,
    *,
    long_side_px: int,
    allow_upscale: bool,
    multiple_px: int = 32,
    canvas_wh_px: tuple[int, int] | None = None,
) -> Letterbox:
    """Fit the longer side to `long_side_px` and pad to multiples of `multiple_px`, or to a fixed canvas.

    Raises DataError for an image that is not uint8 (h, w, 3) with h, w ≥ 1, or for `long_side_px` < 1.
    """
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or not image_bgr.size:
        raise DataError(f"image is {image_bgr.dtype} {image_bgr.shape}, expected uint8 (h, w, 3); decode it to BGR")
    if long_side_px < 1:
        raise DataError(f"long_side_px is {long_side_px}; set it to 1 or more (320 to 1280 is usual)")
    height, width = image_bgr.shape[:2]
    scale = long_side_px / max(height, width)
    if not allow_upscale:
        scale = min(scale, 1.0)
    if canvas_wh_px is not None:
        scale = min(scale, canvas_wh_px[0] / width, canvas_wh_px[1] / height)
    inner_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas_w, canvas_h = canvas_wh_px or tuple(-(-side // multiple_px) * multiple_px for side in inner_wh)
    canvas = np.zeros((canvas_h, canvas_w, 3), dtype=np.uint8)
    inner = canvas[: inner_wh[1], : inner_wh[0]]
    if inner_wh == (width, height):
        inner[:] = image_bgr
    else:
        inner[:] = _resized(image_bgr, inner_wh)
    scale_xy = np.array([inner_wh[0] / width, inner_wh[1] / height], dtype=np.float32)
    return Letterbox(image_bgr=canvas, scale_xy=scale_xy)


def _resized(image_bgr: UInt8Array, wh: tuple[int, int]) -> UInt8Array:
    """Bilinear alone skips pixels below half size, and small faces alias: halve by area first (three times
    faster than area averaging in one step from 1080p to 640, same faces)."""
    while image_bgr.shape[1] >= 2 * wh[0] and image_bgr.shape[0] >= 2 * wh[1]:
        half_wh = (image_bgr.shape[1] // 2, image_bgr.shape[0] // 2)
        image_bgr = np.asarray(cv2.resize(image_bgr, half_wh, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.resize(image_bgr, wh, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def suppress_overlaps(boxes_xyxy_px: Float32Array, scores: Float32Array, *, max_iou: float) -> NDArray[np.intp]:
    """Row numbers kept by greedy non-maximum suppression, best score first; ties go by box, not by order.

    `boxes_xyxy_px` (n, 4), `scores` (n,), `max_iou` in [0, 1]: a box over it with a better one is dropped.
    """
    order = np.lexsort((*boxes_xyxy_px.T[::-1], -scores))[:MAX_CANDIDATES]
    boxes = boxes_xyxy_px[order]
    is_open = np.ones(len(order), dtype=np.bool_)
    kept = []
    for i in range(len(order)):
        if is_open[i]:
            kept.append(i)
            is_open[i + 1 :] &= pairwise_iou(boxes[i], boxes[i + 1 :])[0] <= max_iou
    return np.asarray(order[kept], dtype=np.intp)

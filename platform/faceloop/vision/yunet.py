"""YuNet (Wu et al., Machine Intelligence Research 2023), decoded as OpenCV's `FaceDetectorYN` does.

Three strides; score = sqrt(class × objectness); centre and landmarks relative to the cell, size as exp.
"""

import cv2
import numpy as np

from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.detections import Detections, letterbox, suppress_overlaps
from faceloop.vision.sessions import InferenceSession
from faceloop.vision.specs import Preprocessing
from facestore.errors import ModelCorrupt

_STRIDES_PX = (8, 16, 32)
_COLUMNS = (1, 1, 1, 1, 1, 1, 4, 4, 4, 10, 10, 10)  # class, objectness, box, landmarks: each × three strides


class YuNetDetector:
    """A `Detector` over any session of a folded YuNet graph (free size)."""

    def __init__(
        self,
        session: InferenceSession,
        *,
        preprocessing: Preprocessing,
        min_score: float,
        max_iou: float,
        allow_upscale: bool,
    ) -> None:
        columns = tuple(shape[-1] for shape in session.output_shapes)
        if columns != _COLUMNS:
            raise ModelCorrupt(f"outputs have {columns} columns, YuNet has {_COLUMNS}; check the manifest's kind")
        self._session = session
        self._preprocessing = preprocessing
        self._min_score = min_score
        self._max_iou = max_iou
        self._allow_upscale = allow_upscale

    def detect(self, image_bgr: UInt8Array, *, long_side_px: int) -> Detections:
        boxed = letterbox(image_bgr, long_side_px=long_side_px, allow_upscale=self._allow_upscale)
        scale, mean = 1.0 / self._preprocessing.std, (self._preprocessing.mean,) * 3
        is_rgb = self._preprocessing.colour == "RGB"
        blob = cv2.dnn.blobFromImage(boxed.image_bgr, scale, mean=mean, swapRB=is_rgb)
        outputs = self._session.run(np.asarray(blob, dtype=np.float32))
        boxes, landmarks, scores = decode(outputs, width_px=boxed.image_bgr.shape[1], min_score=self._min_score)
        kept = suppress_overlaps(boxes, scores, max_iou=self._max_iou)
        return boxed.to_image(boxes[kept], landmarks[kept], scores[kept])


def decode(
    outputs: list[Float32Array], *, width_px: int, min_score: float
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Candidates of one image at or above `min_score`: boxes (n, 4) xyxy px, landmarks (n, 5, 2) px, scores (n,).

    `outputs` are the twelve of the graph, (1, cells, columns) each, cells row by row over the input.
    """
    found = []
    for level, stride in enumerate(_STRIDES_PX):
        cls, obj, box, kps = (outputs[level + 3 * part][0] for part in range(4))
        scores = np.sqrt(np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1))
        cells = np.flatnonzero(scores >= min_score)
        corner = np.stack([cells % (width_px // stride), cells // (width_px // stride)], axis=1)
        with np.errstate(over="ignore"):  # an absurd size becomes inf and is dropped below
            half = np.exp(box[cells, 2:]) * (stride / 2)
        centre = (box[cells, :2] + corner) * stride
        landmarks = (kps[cells].reshape(-1, 5, 2) + corner[:, None]) * stride
        found.append((np.hstack([centre - half, centre + half]), landmarks, scores[cells]))
    boxes, points, best = (np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True))
    is_finite = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2))
    return boxes[is_finite], points[is_finite], best[is_finite]

"""SCRFD (Guo et al., ICLR 2022) through InsightFace's own class, adapted to `Detections` at the edge.

InsightFace's class decodes and suppresses; the letterbox and the session are ours, so that it runs on any
engine, at bounded size, and never downloads. None of its objects leaves this module.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from insightface.model_zoo.scrfd import SCRFD

from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.detections import Detections, letterbox
from faceloop.vision.sessions import InferenceSession, Shape
from faceloop.vision.specs import Preprocessing
from facestore.errors import ModelCorrupt

_OUTPUTS_WITH_LANDMARKS = (9, 15)


class ScrfdDetector:
    """A `Detector` over any session of an SCRFD graph that gives landmarks."""

    def __init__(
        self,
        session: InferenceSession,
        *,
        preprocessing: Preprocessing,
        min_score: float,
        max_iou: float,
        allow_upscale: bool,
    ) -> None:
        outputs = len(session.output_shapes)
        if outputs not in _OUTPUTS_WITH_LANDMARKS:
            raise ModelCorrupt(
                f"SCRFD has {outputs} outputs, {_OUTPUTS_WITH_LANDMARKS} carry landmarks; take a *_kps / bnkps model"
            )
        # Without a file path the class never opens, re-shapes or downloads anything by itself.
        self._scrfd: Any = SCRFD(model_file=None, session=_SessionShim(session), static_shape_sessions=False)
        self._scrfd.input_mean, self._scrfd.input_std = preprocessing.mean, preprocessing.std
        self._scrfd.det_thresh, self._scrfd.nms_thresh = min_score, max_iou
        self._allow_upscale = allow_upscale

    def detect(self, image_bgr: UInt8Array, *, long_side_px: int) -> Detections:
        boxed = letterbox(
            image_bgr,
            long_side_px=long_side_px,
            allow_upscale=self._allow_upscale,
            canvas_wh_px=self._scrfd.static_input_size,
        )
        canvas_wh = boxed.image_bgr.shape[1::-1]
        boxes_and_scores, landmarks = self._scrfd.detect(boxed.image_bgr, input_size=canvas_wh)
        scores = np.clip(boxes_and_scores[:, 4], 0.0, 1.0)
        return boxed.to_image(boxes_and_scores[:, :4], landmarks.reshape(-1, 5, 2), scores)


@dataclass(frozen=True, slots=True)
class _Value:
    name: str
    shape: list[int | None]


class _SessionShim:
    """Our session in the clothes of `onnxruntime.InferenceSession`, as far as InsightFace looks."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session

    def get_inputs(self) -> list[_Value]:
        return _values("input", (self._session.input_shape,))

    def get_outputs(self) -> list[_Value]:
        return _values("output", self._session.output_shapes)

    def run(self, _names: list[str], feed: dict[str, Float32Array]) -> list[Float32Array]:
        (batch,) = feed.values()
        return self._session.run(batch)


def _values(prefix: str, shapes: tuple[Shape, ...]) -> list[_Value]:
    return [_Value(f"{prefix}_{place}", list(shape)) for place, shape in enumerate(shapes)]

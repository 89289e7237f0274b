"""What detectors share: the letterbox, suppression of overlaps, and the shape of a result."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.vision.arrays import Float32Array
from faceloop.vision.detections import Detections, letterbox, suppress_overlaps
from facestore.errors import DataError


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 400), st.booleans())
def test_letterbox_keeps_the_bounds_and_pads_with_black(
    height: int, width: int, long_side: int, allow_upscale: bool
) -> None:
    image = np.full((height, width, 3), 200, np.uint8)
    boxed = letterbox(image, long_side_px=long_side, allow_upscale=allow_upscale)
    canvas_h, canvas_w = boxed.image_bgr.shape[:2]
    inner_w, inner_h = (boxed.scale_xy * (width, height)).round().astype(int)
    assert canvas_h % 32 == canvas_w % 32 == 0
    assert canvas_h - inner_h < 32
    assert canvas_w - inner_w < 32
    assert max(inner_h, inner_w) == (long_side if allow_upscale else min(long_side, max(height, width)))
    assert (boxed.image_bgr[:inner_h, :inner_w] == 200).all()
    assert boxed.image_bgr.astype(int).sum() == inner_h * inner_w * 3 * 200


def test_fixed_canvas_is_never_exceeded() -> None:
    image = np.zeros((100, 400, 3), np.uint8)
    boxed = letterbox(image, long_side_px=400, allow_upscale=False, canvas_wh_px=(64, 64))
    assert boxed.image_bgr.shape == (64, 64, 3)
    assert boxed.scale_xy.tolist() == [pytest.approx(0.16), pytest.approx(0.16)]


def _iou(one: Float32Array, two: Float32Array) -> float:
    wide = max(0.0, float(min(one[2], two[2]) - max(one[0], two[0])))
    high = max(0.0, float(min(one[3], two[3]) - max(one[1], two[1])))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, two)]
    return wide * high / (sum(areas) - wide * high)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_suppression_keeps_the_best_and_drops_only_what_overlaps_it(faces: int, seed: int, max_iou: float) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 40, (faces, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 30, (faces, 2))]).astype(np.float32)
    scores = (rng.integers(1, 6, faces) / 5).astype(np.float32)  # many ties
    kept = suppress_overlaps(boxes, scores, max_iou=max_iou)
    assert (np.diff(scores[kept]) <= 0).all()
    for place, row in enumerate(kept):
        assert all(_iou(boxes[row], boxes[other]) <= max_iou + 1e-6 for other in kept[:place])
    for row in set(range(faces)) - set(kept.tolist()):
        assert any(scores[k] >= scores[row] and _iou(boxes[row], boxes[k]) > max_iou - 1e-6 for k in kept)
    order = rng.permutation(faces)
    again = suppress_overlaps(boxes[order], scores[order], max_iou=max_iou)
    assert np.array_equal(boxes[order][again], boxes[kept])


def test_detections_of_unequal_length_are_refused() -> None:
    with pytest.raises(DataError, match=r"landmarks_px is float32 \(1, 5, 2\), expected float32 \(2, 5, 2\)"):
        Detections(
            boxes_xyxy_px=np.zeros((2, 4), np.float32),
            landmarks_px=np.zeros((1, 5, 2), np.float32),
            scores=np.zeros(2, np.float32),
        )

"""Where to look: sizes are those asked for, places are those of the full picture, a face counts once."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.footage.decode import Picture
from faceloop.vision.detections import Detections
from faceloop.vision.lookout import LookParams, context_crop, look_at_frame, look_at_photo

PARAMS = LookParams(long_side_px=200, detail_long_side_px=400, detail_every=5)


@dataclass
class WhiteSquares:
    """A detector whose answer is computable: it finds the one white rectangle, if it is at least 6 px wide."""

    looks: list[int] = field(default_factory=list)

    def detect(self, image_bgr: NDArray[np.uint8], *, long_side_px: int) -> Detections:
        self.looks.append(max(image_bgr.shape[:2]))
        rows, columns = np.nonzero(image_bgr.min(axis=2) > 200)
        if not len(rows) or np.ptp(columns) < 6:
            return _detections([])
        return _detections([(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)])


def _detections(boxes: list[tuple[float, ...]]) -> Detections:
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Detections(
        boxes_xyxy_px=array,
        landmarks_px=np.repeat(array[:, None, :2], 5, axis=1),
        scores=np.full(len(array), 0.9, dtype=np.float32),
    )


def _picture(box: tuple[int, int, int, int] | None, *, is_cut: bool = False) -> Picture:
    image = np.zeros((600, 800, 3), dtype=np.uint8)
    if box is not None:
        image[box[1] : box[3], box[0] : box[2]] = 255
    return Picture(pts_ms=0, is_cut=is_cut, frame=image, rotation=0)


def test_a_frame_is_looked_at_small_and_now_and_then_finer() -> None:
    detector = WhiteSquares()
    for number in range(6):
        look_at_frame(detector, _picture((100, 100, 180, 180)), number, PARAMS)
    assert detector.looks.count(400) == 2
    assert detector.looks.count(200) >= 4
    assert max(detector.looks) == 400


def test_a_cut_is_worth_a_finer_look() -> None:
    detector = WhiteSquares()
    look_at_frame(detector, _picture((100, 100, 180, 180), is_cut=True), 3, PARAMS)
    assert 400 in detector.looks


@given(left=st.integers(0, 700), top=st.integers(0, 500), side=st.integers(40, 100), number=st.integers(0, 9))
@settings(deadline=None, max_examples=30)
def test_places_are_in_pixels_of_the_full_picture(left: int, top: int, side: int, number: int) -> None:
    box = (left, top, left + side, top + side)
    for found in (
        look_at_frame(WhiteSquares(), _picture(box), number, PARAMS),
        look_at_photo(WhiteSquares(), _picture(box), PARAMS),
    ):
        assert len(found) == 1
        np.testing.assert_allclose(found.boxes_xyxy_px[0], np.minimum(box, [800, 600, 800, 600]), atol=5)
        np.testing.assert_allclose(found.landmarks_px[0, 0], box[:2], atol=5)


def test_a_small_face_is_found_by_the_finer_look() -> None:
    box = (300, 300, 320, 320)
    assert len(look_at_frame(WhiteSquares(), _picture(box), 1, PARAMS)) == 0
    assert len(look_at_frame(WhiteSquares(), _picture(box), 5, PARAMS)) == 1
    assert len(look_at_photo(WhiteSquares(), _picture(box), PARAMS)) == 1


def test_a_picture_without_faces_has_none() -> None:
    assert len(look_at_photo(WhiteSquares(), _picture(None), PARAMS)) == 0


def test_a_context_crop_shows_the_box_in_its_middle() -> None:
    image = np.zeros((600, 800, 3), dtype=np.uint8)
    image[200:260, 300:360] = (255, 0, 0)  # blue
    crop = context_crop(image, (300.0, 200.0, 360.0, 260.0), 220)
    assert crop.shape == (220, 220, 3)
    assert crop[110, 110].tolist() == [0, 0, 255]
    blue = crop[..., 2] > 128
    assert blue.mean() == pytest.approx(1 / 2.2**2, abs=0.02)
    assert np.abs(np.argwhere(blue).mean(axis=0) - 110).max() < 2


@given(
    x=st.floats(-300, 1000),
    y=st.floats(-300, 800),
    w=st.floats(0.5, 900),
    h=st.floats(0.5, 900),
    side=st.integers(32, 256),
)
@settings(deadline=None, max_examples=40)
def test_any_box_has_a_context_crop_of_the_size_asked_for(x: float, y: float, w: float, h: float, side: int) -> None:
    image = np.full((60, 80, 3), 7, dtype=np.uint8)
    crop = context_crop(image, (x, y, x + w, y + h), side)
    assert crop.shape == (side, side, 3)
    assert crop.dtype == np.uint8
    assert np.all(crop == 7)  # beyond the border the picture goes on as its edge

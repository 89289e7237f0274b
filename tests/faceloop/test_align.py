"""Alignment: equal to InsightFace pixel for pixel, and exact on landmarks whose answer is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from insightface.utils import face_align

from faceloop.vision.align import (
    ARCFACE_TEMPLATE_PX,
    align_crop,
    align_crops,
    are_alignable,
    similarity_to_template,
)
from facestore.errors import DataError

RNG = np.random.default_rng(7)
NOISE = RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8)


def test_template_is_the_one_of_insightface() -> None:
    assert np.array_equal(ARCFACE_TEMPLATE_PX, face_align.arcface_dst)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.2, 6),
    angle_deg=st.floats(-180, 180),
    shift_px=st.tuples(st.floats(-50, 400), st.floats(-50, 400)),
    seed=st.integers(0, 1000),
    is_mirrored=st.booleans(),
)
def test_crop_equals_insightface_pixel_for_pixel(
    scale: float, angle_deg: float, shift_px: tuple[float, float], seed: int, is_mirrored: bool
) -> None:
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    jitter = np.random.default_rng(seed).normal(0, 2 * scale, (5, 2))
    landmarks = (ARCFACE_TEMPLATE_PX @ turn.T + shift_px + jitter).astype(np.float32)
    if is_mirrored:
        landmarks[:, 0] *= -1
        landmarks[:, 0] += 300
    expected = face_align.norm_crop(NOISE, landmarks)[:, :, ::-1]
    assert np.array_equal(align_crop(NOISE, landmarks), expected)


def test_twofold_template_gives_the_larger_crop_of_insightface() -> None:
    landmarks = (ARCFACE_TEMPLATE_PX * 1.7 + 20).astype(np.float32)
    expected = face_align.norm_crop(NOISE, landmarks, image_size=224)[:, :, ::-1]
    assert np.array_equal(align_crop(NOISE, landmarks, size_px=224), expected)


def test_face_already_on_the_template_is_returned_as_rgb() -> None:
    image = cv2.GaussianBlur(NOISE[:112, :112], (0, 0), 2)
    assert np.array_equal(align_crop(np.asarray(image, np.uint8), ARCFACE_TEMPLATE_PX), image[:, :, ::-1])


@given(scale=st.floats(0.1, 10), shift_px=st.floats(-500, 500))
def test_similarity_takes_scaled_and_shifted_landmarks_back_to_the_template(scale: float, shift_px: float) -> None:
    landmarks = (ARCFACE_TEMPLATE_PX * scale + shift_px).astype(np.float32)
    matrix = similarity_to_template(landmarks)
    assert np.allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], ARCFACE_TEMPLATE_PX, atol=0.05)


def test_many_faces_give_the_crops_of_each_in_order() -> None:
    landmarks = np.stack([ARCFACE_TEMPLATE_PX * factor + 5 for factor in (1.0, 1.5, 2.2)]).astype(np.float32)
    each = [align_crop(NOISE, landmarks[row]) for row in range(3)]
    crops = align_crops(NOISE, landmarks)
    assert crops.shape == (3, 112, 112, 3)
    assert np.array_equal(crops, np.stack(each))
    assert align_crops(NOISE, landmarks[:0]).shape == (0, 112, 112, 3)


@pytest.mark.parametrize(
    ("landmarks", "size_px", "says"),
    [
        (np.zeros((5, 2), np.float32), 112, "one point"),
        (np.full((5, 2), np.nan, np.float32), 112, "not finite"),
        (np.zeros((4, 2), np.float32), 112, r"\(4, 2\)"),
        (ARCFACE_TEMPLATE_PX, 100, "multiple of 112"),
        (ARCFACE_TEMPLATE_PX, 0, "multiple of 112"),
    ],
)
def test_impossible_landmarks_are_refused(landmarks: np.ndarray, size_px: int, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=says):
        align_crop(NOISE, landmarks, size_px=size_px)


def test_alignable_faces_are_told_from_the_others() -> None:
    faces = np.stack([ARCFACE_TEMPLATE_PX, np.zeros((5, 2)), np.full((5, 2), np.inf)]).astype(np.float32)
    assert are_alignable(faces).tolist() == [True, False, False]

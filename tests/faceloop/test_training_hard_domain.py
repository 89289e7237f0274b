"""The hard domain: the same views for everybody, as hard as the recipe says, and refusals of what cannot be."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.training.hard_domain import FAR_CAMERA, HardDomain, UInt8Array, degrade, smear_kernel
from facestore.errors import ConfigError, DataError

NOTHING = HardDomain(
    side_px=(112, 112),
    blur_sigma_px=(0, 0),
    motion_px=(0, 0),
    noise_sigma=(0, 0),
    gain=(1, 1),
    jpeg_quality=(100, 100),
)


def crop() -> UInt8Array:
    """A picture with edges and slopes in all three channels."""
    rows, columns = np.mgrid[0:112, 0:112]
    channels = [rows * 2, columns * 2, (rows + columns) % 64 * 3]
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def view(domain: HardDomain, *, face_id: str = "face", number: int = 0, seed: int = 3) -> UInt8Array:
    return degrade(crop(), domain, face_id=face_id, view=number, seed=seed).crop_rgb


def detail(image_rgb: UInt8Array) -> float:
    """Mean square of the Laplacian: what blur and few pixels take away."""
    return float(np.square(cv2.Laplacian(image_rgb.astype(np.float32), cv2.CV_32F)).mean())


def test_the_same_face_view_and_seed_give_the_same_bytes_and_any_other_gives_others() -> None:
    first = view(FAR_CAMERA)
    assert np.array_equal(first, view(FAR_CAMERA))
    others = [view(FAR_CAMERA, number=1), view(FAR_CAMERA, face_id="other"), view(FAR_CAMERA, seed=4)]
    assert all(not np.array_equal(first, other) for other in others)


def test_a_view_does_not_change_the_crop_it_was_made_from() -> None:
    image = crop()
    degrade(image, FAR_CAMERA, face_id="face", view=0, seed=0)
    assert np.array_equal(image, crop())


def test_a_recipe_that_takes_nothing_away_leaves_the_crop_but_for_compression() -> None:
    assert np.abs(view(NOTHING).astype(int) - crop().astype(int)).mean() < 1.5


@pytest.mark.parametrize(
    "harder",
    [{"side_px": (16, 16)}, {"blur_sigma_px": (3, 3)}, {"motion_px": (12, 12)}],
    ids=["few pixels", "blur", "motion"],
)
def test_each_loss_of_sharpness_takes_detail_away(harder: dict[str, tuple[float, float]]) -> None:
    assert detail(view(replace(NOTHING, **harder))) < 0.5 * detail(view(NOTHING))


def test_noise_adds_the_spread_it_names_and_gain_darkens() -> None:
    flat = np.full((112, 112, 3), 128, np.uint8)
    noisy = degrade(flat, replace(NOTHING, noise_sigma=(10, 10)), face_id="f", view=0, seed=0).crop_rgb
    assert 8 < noisy.astype(float).std() < 12
    dark = degrade(flat, replace(NOTHING, gain=(0.5, 0.5)), face_id="f", view=0, seed=0).crop_rgb
    assert abs(dark.astype(float).mean() - 64) < 2


@settings(max_examples=40, deadline=None)
@given(number=st.integers(0, 10_000), seed=st.integers(0, 2**31))
def test_every_view_is_a_crop_and_its_sensor_is_inside_the_recipe(number: int, seed: int) -> None:
    found = degrade(crop(), FAR_CAMERA, face_id="face", view=number, seed=seed)
    assert found.crop_rgb.shape == (112, 112, 3)
    assert found.crop_rgb.dtype == np.uint8
    assert FAR_CAMERA.side_px[0] <= found.side_px <= FAR_CAMERA.side_px[1]


@settings(max_examples=100, deadline=None)
@given(length_px=st.floats(1, 40), angle_deg=st.floats(0, 180))
def test_a_smear_neither_adds_nor_takes_light_and_has_no_direction_of_its_own(
    length_px: float, angle_deg: float
) -> None:
    kernel = smear_kernel(length_px, angle_deg)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert abs(float(kernel.sum()) - 1) < 1e-5
    place = np.arange(len(kernel)) - len(kernel) // 2
    assert abs(float((kernel.sum(axis=0) * place).sum())) < 0.5  # centred: a face does not move


@pytest.mark.parametrize(
    "wrong",
    [{"side_px": (64, 32)}, {"side_px": (2, 8)}, {"jpeg_quality": (0, 50)}, {"noise_sigma": (0, float("nan"))}],
    ids=["upside down", "too few pixels", "no such quality", "not a number"],
)
def test_an_impossible_recipe_is_refused_by_name(wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(FAR_CAMERA, **wrong)


@pytest.mark.parametrize("image", [np.zeros((100, 112, 3), np.uint8), np.zeros((112, 112, 3), np.float32)])
def test_what_is_no_aligned_crop_is_refused(image: UInt8Array) -> None:
    with pytest.raises(DataError, match="align"):
        degrade(image, FAR_CAMERA, face_id="face", view=0, seed=0)

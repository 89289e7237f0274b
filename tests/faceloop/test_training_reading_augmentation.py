"""Augmentation: each step does what its profile says, alike for equal draws, and leaves its argument alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.training.reading.augmentation_profile import AugmentationProfile, read_profile, shipped_profiles
from faceloop.training.reading.augmenting import DRAWS, augmented
from faceloop.training.reading.contact_sheet import contact_sheet
from faceloop.training.reading.mixing import cut_and_mixed, mixed_up
from faceloop.training.reading.randomness import generator_for
from facestore.errors import ConfigError, DataError

from .reading_world import picture

DEFAULT = read_profile("default")


def _only(**changed: dict[str, float] | float) -> AugmentationProfile:
    """The profile without any step, but for what is named."""
    tree = read_profile("none").model_dump()
    for name, change in changed.items():
        tree[name] = tree[name] | change if isinstance(change, dict) else change
    return AugmentationProfile.model_validate(tree)


def _draws(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return generator_for(seed).random(DRAWS)


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_a_picture_stays_a_picture_and_equal_draws_vary_it_alike(seed: int) -> None:
    image = picture(seed % 100)
    before = image.copy()
    first, second = (augmented(image, DEFAULT, _draws(seed)) for _ in range(2))
    assert first.shape == (112, 112, 3)
    assert first.dtype == np.dtype(np.uint8)
    assert first.tobytes() == second.tobytes()
    assert image.tobytes() == before.tobytes()


def test_without_a_step_the_picture_is_as_stored() -> None:
    np.testing.assert_array_equal(augmented(picture(7), read_profile("none"), _draws(1)), picture(7))


def test_a_flip_is_exact_and_half_of_all_pictures_are_flipped() -> None:
    flipped = [augmented(picture(3), read_profile("flip"), _draws(seed)) for seed in range(400)]
    kinds = {image.tobytes() for image in flipped}
    assert kinds == {picture(3).tobytes(), np.ascontiguousarray(picture(3)[:, ::-1]).tobytes()}
    assert 150 < sum(image[0, 0, 0] != 250 for image in flipped) < 250


def test_a_warp_scales_and_turns_about_the_middle() -> None:
    image = np.zeros((112, 112, 3), np.uint8)
    image[36:76, 36:76] = 255
    warp = {"probability": 1.0, "rotation_deg": 0.0, "scale_low": 1.2, "scale_high": 1.2, "shift_px": 0.0}
    assert (augmented(image, _only(warp=warp), _draws(0))[:, :, 0] > 127).sum() == 48 * 48
    turned = augmented(
        image, _only(warp={**warp, "rotation_deg": 15.0, "scale_low": 1.0, "scale_high": 1.0}), _draws(0)
    )
    lit = np.argwhere(turned[:, :, 0] > 127)
    assert abs(len(lit) - 1600) < 60
    np.testing.assert_allclose(lit.mean(axis=0), 55.5, atol=0.3)


def test_light_blur_resolution_noise_and_jpeg_each_change_what_they_should() -> None:
    grey = np.full((112, 112, 3), 100, np.uint8)
    edge = np.zeros((112, 112, 3), np.uint8)
    edge[:, 56:] = 200
    draws = np.full(DRAWS, 0.5)
    lit = augmented(grey, _only(light={"probability": 1.0, "contrast": 0.0}), np.full(DRAWS, 0.999))
    assert lit.mean() == pytest.approx(120, abs=1)
    for step in ({"blur": {"probability": 1.0, "sigma_px": 4.0}}, {"low_resolution": {"probability": 1.0}}):
        softened = augmented(edge, _only(**step), draws).astype(int)
        assert 0 < np.abs(np.diff(softened[56, :, 0])).max() < 150
    noisy = augmented(grey, _only(noise={"probability": 1.0, "deviation": 20.0}), draws)
    assert noisy.std() == pytest.approx(10, abs=1)
    textured = augmented(grey, _only(noise={"probability": 1.0, "deviation": 60.0}), draws)
    squeezed = augmented(textured, _only(jpeg={"probability": 1.0, "quality_low": 20, "quality_high": 20}), draws)
    assert 2 < np.abs(squeezed.astype(int) - textured).mean() < 40


@pytest.mark.parametrize(
    ("name", "covered", "free"),
    [("mask", (90, 56), (50, 38)), ("sunglasses", (52, 38), (92, 56)), ("sunglasses", (52, 73), (75, 56))],
)
def test_masks_and_glasses_lie_where_the_template_has_the_face_also_when_it_is_turned(
    name: str, covered: tuple[int, int], free: tuple[int, int]
) -> None:
    image = np.full((112, 112, 3), 250, np.uint8)
    hidden = _only(occlusion={f"{name}_probability": 1.0})
    for seed in range(20):
        shown = augmented(image, hidden, _draws(seed))
        assert shown[covered].min() < 240
        assert shown[free].min() == 250
    down = {"probability": 1.0, "rotation_deg": 0.0, "scale_low": 0.5, "scale_high": 0.5, "shift_px": 0.0}
    small = _only(occlusion={f"{name}_probability": 1.0}, warp=down)
    halved = tuple(round((place - 55.5) / 2 + 55.5) for place in covered)
    assert augmented(image, small, _draws(3))[halved].min() < 240


def test_a_profile_comes_back_from_its_json_and_shipped_ones_hold(tmp_path: Path) -> None:
    assert {"none", "flip", "default"} <= set(shipped_profiles())
    for name in shipped_profiles():
        profile = read_profile(name)
        (tmp_path / "augmentation.json").write_text(profile.to_json())
        assert read_profile(str(tmp_path / "augmentation.json")) == profile
        assert profile.name == name


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"flip_probability":0.5', '"flip_probability":1.5', "flip_probability"),
        ('"scale_low":0.8', '"scale_low":1.9', "smaller number first"),
        ('"name":"default"', '"name":"default","mystery":1', "mystery"),
        ("{", "", "Invalid JSON"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_key(before: str, after: str, message: str, tmp_path: Path) -> None:
    text = DEFAULT.to_json()
    assert before in text
    (tmp_path / "mine.json").write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=message):
        read_profile(str(tmp_path / "mine.json"))
    with pytest.raises(ConfigError, match="neither one of default"):
        read_profile("unheard-of")


def test_mixtures_keep_the_sum_of_targets_and_cut_by_area() -> None:
    images = torch.arange(6.0)[:, None, None, None].expand(6, 3, 20, 20).contiguous()
    targets = torch.eye(6)
    for mixing in (mixed_up, cut_and_mixed):
        mixed, soft = mixing(images, targets, alpha=0.8, generator=generator_for(5))
        torch.testing.assert_close(soft.sum(dim=1), torch.ones(6))
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), soft @ torch.arange(6.0))
        again, _ = mixing(images, targets, alpha=0.8, generator=generator_for(5))
        assert torch.equal(mixed, again)
        assert torch.equal(images[:, 0, 0, 0], torch.arange(6.0))
        with pytest.raises(DataError, match="do not fit"):
            mixing(images.to(torch.uint8), targets, alpha=0.8, generator=generator_for(5))


def test_the_contact_sheet_has_a_row_for_every_step() -> None:
    sheet = contact_sheet(np.stack([picture(row) for row in range(3)]), DEFAULT, seed=1)
    assert sheet.shape == (12 * (112 + 18), 3 * 112, 3)
    rows = [sheet[130 * row + 18 : 130 * (row + 1)] for row in range(12)]
    assert all((rows[0] != rows[row]).any() for row in range(1, 11))

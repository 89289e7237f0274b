"""Quality: in [0, 1] for any picture, and lower for whatever makes a face worse."""

from pathlib import Path

import cv2
import insightface
import matplotlib.cbook
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from faceloop.vision.align import align_crop
from faceloop.vision.models import open_detector
from faceloop.vision.packs import load_pack
from faceloop.vision.pose import Pose
from faceloop.vision.quality import Quality, measure, occlusion_estimate

UInt8Array = NDArray[np.uint8]
FRONTAL = Pose(yaw=0.0, pitch=0.0, roll=0.0)
CROPS = st.one_of(
    arrays.arrays(np.uint8, (112, 112, 3), elements=st.integers(0, 255), fill=st.integers(0, 255)),
    st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    ),
)


@pytest.fixture(scope="module", params=["astronaut", "grace hopper"])
def crop(request: pytest.FixtureRequest, astronaut_rgb: UInt8Array) -> UInt8Array:
    """A real face, aligned: (112, 112, 3) RGB."""
    if request.param == "astronaut":
        picture = astronaut_rgb
    else:
        with Image.open(matplotlib.cbook._get_data_path("sample_data/grace_hopper.jpg")) as image:
            picture = np.asarray(image.convert("RGB"), dtype=np.uint8)
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    detector = open_detector(pack, engine="onnxruntime", precision="f32", threads=2)
    bgr = np.ascontiguousarray(picture[:, :, ::-1])
    return align_crop(bgr, detector.detect(bgr, long_side_px=640).landmarks_px[0])


def _measure(crop: UInt8Array, size_px: float = 120.0, pose: Pose = FRONTAL) -> Quality:
    return measure(crop, size_px=size_px, pose=pose)


def _rescaled(crop: UInt8Array, side_px: int) -> UInt8Array:
    small = cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


@given(crop=CROPS, size_px=st.floats(0, 2000), yaw=st.floats(-180, 180), pitch=st.floats(-90, 90))
@settings(deadline=None, max_examples=50)
def test_any_picture_has_measures_between_zero_and_one(
    crop: UInt8Array, size_px: float, yaw: float, pitch: float
) -> None:
    found = measure(crop, size_px=size_px, pose=Pose(yaw=yaw, pitch=pitch, roll=0.0))
    for value in (found.sharpness, found.brightness, found.contrast, found.occlusion, found.total):
        assert 0 <= value <= 1


@pytest.mark.parametrize("level", [0, 255])
def test_a_picture_of_one_colour_is_of_no_use(level: int) -> None:
    assert _measure(np.full((112, 112, 3), level, dtype=np.uint8)).total < 0.15


def test_a_good_face_is_good(crop: UInt8Array) -> None:
    found = _measure(crop)
    assert found.total > 0.6
    assert found.occlusion < 0.35


def test_quality_falls_with_blur(crop: UInt8Array) -> None:
    blurred = [crop, *(np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), dtype=np.uint8) for sigma in (1.5, 3.0, 5.0))]
    totals = [_measure(picture).total for picture in blurred]
    sharpness = [_measure(picture).sharpness for picture in blurred]
    assert totals == sorted(totals, reverse=True)
    assert sharpness == sorted(sharpness, reverse=True)
    assert totals[-1] < 0.75 * totals[0]


def test_quality_falls_with_size(crop: UInt8Array) -> None:
    totals = [_measure(_rescaled(crop, side), size_px=side).total for side in (112, 56, 28, 16)]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 0.6 * totals[0]


def test_quality_falls_in_the_dark_and_in_glare(crop: UInt8Array) -> None:
    dark = [_measure((crop * share).astype(np.uint8)).total for share in (1.0, 0.3, 0.1, 0.03)]
    assert dark == sorted(dark, reverse=True)
    glare = np.clip(crop.astype(np.float32) * 0.2 + 215, 0, 255).astype(np.uint8)
    assert _measure(glare).total < 0.8 * _measure(crop).total


def test_quality_falls_as_the_head_turns(crop: UInt8Array) -> None:
    totals = [_measure(crop, pose=Pose(yaw=yaw, pitch=0.0, roll=0.0)).total for yaw in (0, 30, 60, 85)]
    assert totals == sorted(totals, reverse=True)
    mirrored = [_measure(crop, pose=Pose(yaw=-yaw, pitch=0.0, roll=0.0)).total for yaw in (0, 30, 60, 85)]
    assert mirrored == pytest.approx(totals)


@pytest.mark.parametrize(("mask", "rise"), [("blue", 0.1), ("green", 0.1), ("white", 0.05), ("black", 0.05)])
def test_a_mask_over_the_lower_face_raises_occlusion(mask: str, rise: float, crop: UInt8Array) -> None:
    """By chroma alone: cloth without a colour shows less, and least on light skin."""
    path = Path(insightface.__file__).parent / "data" / "images" / f"mask_{mask}.jpg"
    with Image.open(path) as image:
        cloth = np.asarray(image.convert("RGB").resize((72, 42)), dtype=np.uint8)
    masked = crop.copy()
    masked[68:110, 20:92] = cloth
    assert occlusion_estimate(masked) > occlusion_estimate(crop) + rise
    assert _measure(masked).occlusion > _measure(crop).occlusion

"""One picture, varied by a profile and a row of random numbers: a pure function, so a sample varies alike wherever
it is read.

All on uint8 in OpenCV, in the order in which it happens to a face: pose and what covers it, light, lens, sensor,
compression. Each step owns some columns of the row, so a change of one probability leaves the others' draws alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import cv2
import numpy as np

from faceloop.training.reading.augmentation_profile import AugmentationProfile, Warp
from faceloop.training.reading.occlusion import Float64Array, UInt8Array, with_box, with_mask, with_sunglasses
from faceloop.training.reading.randomness import generator_for

_WIDTHS = {"flip": 1, "warp": 5, "mask": 4, "sunglasses": 4, "box": 8, "light": 3, "blur": 2, "low_resolution": 2}
_WIDTHS |= {"noise": 3, "jpeg": 2}
_OWN = dict(zip(_WIDTHS, (slice(*ends) for ends in pairwise(accumulate(_WIDTHS.values(), initial=0))), strict=True))
DRAWS = sum(_WIDTHS.values())
_MIDDLE_GREY = 127.5
_LEVELS = np.arange(256, dtype=np.float64)
_GRAINS = 1 << 18  # noise is cut from a fixed sheet at a drawn place: fresh numbers would cost more than the decoding
_SHEET = generator_for(0, _GRAINS).standard_normal(_GRAINS, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Gate:
    """The columns of a step: the first decides, the others say how."""

    draws: Float64Array

    def open(self, step: str, probability: float) -> Iterator[Float64Array]:
        own = self.draws[_OWN[step]]
        if own[0] < probability:
            yield own[1:]


def augmented(image_rgb: UInt8Array, profile: AugmentationProfile, draws: Float64Array) -> UInt8Array:
    """`image_rgb` (112, 112, 3) varied; `draws` (DRAWS,) evenly from [0, 1). The argument stays as it is."""
    gate, image = _Gate(draws), image_rgb
    moved = _moved(profile.warp, gate, image.shape[0])
    is_flipped = any(True for _ in gate.open("flip", profile.flip_probability))
    matrix = np.eye(2, 3) if moved is None else moved
    if is_flipped:
        matrix = matrix @ np.array([[-1.0, 0.0, image.shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    if moved is not None:
        image = _uint8(cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR))
    elif is_flipped:
        image = _uint8(cv2.flip(image, 1))
    hidden = profile.occlusion
    for how in gate.open("mask", hidden.mask_probability):
        image = with_mask(image, matrix, how)
    for how in gate.open("sunglasses", hidden.sunglasses_probability):
        image = with_sunglasses(image, matrix, how)
    for how in gate.open("box", hidden.box_probability):
        image = with_box(image, hidden.box_share, how)
    return _through_camera(image, profile, gate)


def _moved(warp: Warp, gate: _Gate, side_px: int) -> Float64Array | None:
    """Rotation, scale and shift about the middle as (2, 3) matrix on homogeneous points; None where there is none."""
    for how in gate.open("warp", warp.probability):
        angle_deg = warp.rotation_deg * (2 * how[0] - 1)
        scale = warp.scale_low + (warp.scale_high - warp.scale_low) * how[1]
        middle = (side_px - 1) / 2
        matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), angle_deg, scale), np.float64)
        matrix[:, 2] += warp.shift_px * (2 * how[2:4] - 1)
        return matrix
    return None


def _through_camera(image: UInt8Array, profile: AugmentationProfile, gate: _Gate) -> UInt8Array:
    for how in gate.open("light", profile.light.probability):
        brightness = 1 + profile.light.brightness * (2 * how[0] - 1)
        contrast = 1 + profile.light.contrast * (2 * how[1] - 1)
        levels = (_LEVELS * brightness - _MIDDLE_GREY) * contrast + _MIDDLE_GREY
        image = _uint8(cv2.LUT(image, np.rint(levels).clip(0, 255).astype(np.uint8)))
    for how in gate.open("blur", profile.blur.probability):
        image = _uint8(cv2.GaussianBlur(image, (0, 0), max(0.1, profile.blur.sigma_px * float(how[0]))))
    for how in gate.open("low_resolution", profile.low_resolution.probability):
        small_px = _between(profile.low_resolution.side_px_low, profile.low_resolution.side_px_high, how[0])
        small = cv2.resize(image, (small_px, small_px), interpolation=cv2.INTER_AREA)
        image = _uint8(cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    for how in gate.open("noise", profile.noise.probability):
        start = int(how[1] * (_GRAINS - image.size))
        grains = _SHEET[start : start + image.size].reshape(image.shape) * np.float32(profile.noise.deviation * how[0])
        image = _uint8(cv2.add(image, grains, dtype=cv2.CV_8U))
    for how in gate.open("jpeg", profile.jpeg.probability):
        quality = _between(profile.jpeg.quality_low, profile.jpeg.quality_high, how[0])
        _, payload = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = _uint8(cv2.imdecode(payload, cv2.IMREAD_COLOR_RGB))
    return image


def _between(low: int, high: int, share: float) -> int:
    return low + int(share * (high - low + 1))


def _uint8(image: object) -> UInt8Array:
    return np.asarray(image, dtype=np.uint8)

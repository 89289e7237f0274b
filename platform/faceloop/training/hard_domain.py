"""A hard domain made from clear crops: what a far, cheap, dark camera makes of a face, as a recipe with a seed.

The order is that of light: motion and lens blur, few pixels, sensor noise, compression. It stands in for a domain
that one cannot ship (`benchmarks/turn_of_the_wheel.py` measures a turn of the loop with it). A view depends on the
recipe, the seed, the face's id and the number of the view alone, so that everybody makes the same pictures.
"""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceloop.vision.align import CROP_SIDE_PX
from facestore.errors import ConfigError, DataError
from facestore.images import decode_jpeg, encode_jpeg

UInt8Array = NDArray[np.uint8]
Range = tuple[float, float]
_EDGE = cv2.BORDER_REPLICATE


@dataclass(frozen=True, slots=True, kw_only=True)
class HardDomain:
    """Each range is drawn from evenly, once a view. Raises ConfigError for a range that is empty or impossible."""

    side_px: Range  # of the whole 112 px crop as the sensor sees it
    blur_sigma_px: Range  # lens, Gaussian, in pixels of the crop
    motion_px: Range  # length of the smear, any direction; below 1: none
    noise_sigma: Range  # grey levels of 0…255, at the sensor's resolution
    gain: Range  # of the exposure; below 1 darkens
    jpeg_quality: Range  # at the sensor's resolution, 1…100

    def __post_init__(self) -> None:
        limits: dict[str, Range] = {
            "side_px": (4, 112),
            "blur_sigma_px": (0, 20),
            "motion_px": (0, 40),
            "noise_sigma": (0, 80),
            "gain": (0.05, 4),
            "jpeg_quality": (1, 100),
        }
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ConfigError(f"hard domain: {name} is {low}…{high}; give a range inside {least}…{most}")


FAR_CAMERA = HardDomain(
    side_px=(32, 64),
    blur_sigma_px=(0, 1.5),
    motion_px=(0, 4),
    noise_sigma=(1, 6),
    gain=(0.6, 1.1),
    jpeg_quality=(60, 95),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HardView:
    """`crop_rgb` uint8 RGB (112, 112, 3), scaled up again from the `side_px` that the sensor gave it."""

    crop_rgb: UInt8Array
    side_px: int


def degrade(crop_rgb: UInt8Array, domain: HardDomain, *, face_id: str, view: int, seed: int) -> HardView:
    """One hard view of an aligned crop, uint8 RGB (112, 112, 3); the same arguments give the same bytes.

    Raises DataError for another shape or dtype.
    """
    if crop_rgb.dtype != np.uint8 or crop_rgb.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3):
        raise DataError(f"crop is {crop_rgb.dtype} {crop_rgb.shape}, expected uint8 (112, 112, 3) RGB; align it first")
    rng = _dice(face_id, view, seed)
    side_px = round(rng.uniform(*domain.side_px))
    sigma_px, smear_px = rng.uniform(*domain.blur_sigma_px), rng.uniform(*domain.motion_px)
    angle_deg, noise_sigma = rng.uniform(0.0, 180.0), rng.uniform(*domain.noise_sigma)
    gain, quality = rng.uniform(*domain.gain), round(rng.uniform(*domain.jpeg_quality))
    seen: NDArray[np.float32] = crop_rgb.astype(np.float32)
    if smear_px >= 1:
        seen = np.asarray(cv2.filter2D(seen, -1, smear_kernel(smear_px, angle_deg), borderType=_EDGE), np.float32)
    if sigma_px > 0:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), sigma_px, borderType=_EDGE), np.float32)
    small = np.asarray(cv2.resize(seen, (side_px, side_px), interpolation=cv2.INTER_AREA), np.float32)
    small = small * np.float32(gain) + rng.normal(0.0, noise_sigma, small.shape).astype(np.float32)
    stored = decode_jpeg(encode_jpeg(np.clip(np.rint(small), 0, 255).astype(np.uint8), quality))
    whole = cv2.resize(stored, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return HardView(crop_rgb=np.asarray(whole, np.uint8), side_px=side_px)


def smear_kernel(length_px: float, angle_deg: float) -> NDArray[np.float32]:
    """Kernel of a straight motion, (k, k) float32, k odd, not negative, summing to 1."""
    reach = int(np.ceil(length_px / 2))
    steps = np.linspace(-length_px / 2, length_px / 2, 8 * reach + 1)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    columns = np.rint(reach + steps * np.cos(np.deg2rad(angle_deg))).astype(np.intp)
    rows = np.rint(reach + steps * np.sin(np.deg2rad(angle_deg))).astype(np.intp)
    np.add.at(kernel, (rows, columns), np.float32(1))
    kernel /= kernel.sum()
    return kernel


def _dice(face_id: str, view: int, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{view}/{face_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))

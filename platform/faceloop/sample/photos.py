"""The photos that installed dependencies ship, found by package and checked by sha256."""

import hashlib
import io
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt
from PIL import Image

from facestore.errors import DataError

Rgb = npt.NDArray[np.uint8]  # (height, width, 3), RGB


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePhoto:
    """One image file inside an installed package; `sha256` is of the file's bytes, hex."""

    package: str
    file: str
    sha256: str


GROUP = SourcePhoto(
    package="insightface",
    file="data/images/t1.jpg",
    sha256="47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489",
)
ASTRONAUT = SourcePhoto(
    package="skimage",
    file="data/astronaut.png",
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
)
OFFICER = SourcePhoto(
    package="matplotlib",
    file="mpl-data/sample_data/grace_hopper.jpg",
    sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
)
TEMPLE = SourcePhoto(
    package="sklearn",
    file="datasets/images/china.jpg",
    sha256="8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
)
FLOWER = SourcePhoto(
    package="sklearn",
    file="datasets/images/flower.jpg",
    sha256="a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
)
COFFEE = SourcePhoto(
    package="skimage",
    file="data/coffee.png",
    sha256="cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
)
ROCKET = SourcePhoto(
    package="skimage",
    file="data/rocket.jpg",
    sha256="c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
)
BRICK = SourcePhoto(
    package="skimage",
    file="data/brick.png",
    sha256="7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
)


def read_photo(photo: SourcePhoto) -> Rgb:
    """Pixels of a source photo, (height, width, 3) uint8 RGB.

    Raises DataError where the package no longer ships these very bytes: face places are given in their
    pixels.
    """
    try:
        raw = resources.files(photo.package).joinpath(photo.file).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise DataError(
            f"{photo.package}/{photo.file} is not installed; install the locked requirements again"
        ) from error
    found = hashlib.sha256(raw).hexdigest()
    if found != photo.sha256:
        raise DataError(
            f"{photo.package}/{photo.file}: sha256 {found}, expected {photo.sha256}; "
            "install the locked requirements again, or measure the faces of the new photo"
        )
    with Image.open(io.BytesIO(raw)) as image:
        return np.asarray(image.convert("RGB"))

"""An augmentation profile: how pictures are varied in training, as data that travels with what was trained."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from faceloop.params import StageParams
from facestore.errors import ConfigError
from facestore.ids import canonical_json

_Share = Annotated[float, Field(ge=0, le=1)]


class Warp(StageParams):
    """Rotation, scale and shift about the middle, drawn evenly; what lies outside is black, as in alignment."""

    probability: _Share
    rotation_deg: float = Field(ge=0, le=180)
    scale_low: float = Field(gt=0.2, le=5)
    scale_high: float = Field(gt=0.2, le=5)
    shift_px: float = Field(ge=0, le=56)


class Light(StageParams):
    """Brightness as a factor 1 ± `brightness`, contrast 1 ± `contrast` about middle grey."""

    probability: _Share
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)


class Blur(StageParams):
    """Gaussian, of a sigma in (0, `sigma_px`]."""

    probability: _Share
    sigma_px: float = Field(gt=0, le=20)


class LowResolution(StageParams):
    """Down to a side between the two, and up again."""

    probability: _Share
    side_px_low: int = Field(ge=4, le=112)
    side_px_high: int = Field(ge=4, le=112)


class Noise(StageParams):
    """Gaussian, of a deviation in (0, `deviation`] grey levels."""

    probability: _Share
    deviation: float = Field(gt=0, le=128)


class Jpeg(StageParams):
    """Encoded again with halved colour resolution, at a quality between the two."""

    probability: _Share
    quality_low: int = Field(ge=1, le=100)
    quality_high: int = Field(ge=1, le=100)


class Occlusion(StageParams):
    """Drawn where the alignment template has eyes, nose and mouth; the box anywhere, up to `box_share` of the side."""

    mask_probability: _Share
    sunglasses_probability: _Share
    box_probability: _Share
    box_share: float = Field(gt=0, le=1)


class AugmentationProfile(StageParams):
    """One sample's chances. Each step is drawn by itself; flips and warps are one affine sampling."""

    name: str = Field(min_length=1)
    flip_probability: _Share
    warp: Warp
    light: Light
    blur: Blur
    low_resolution: LowResolution
    noise: Noise
    jpeg: Jpeg
    occlusion: Occlusion

    @model_validator(mode="after")
    def _ranges_in_order(self) -> "AugmentationProfile":
        for low, high in (
            (self.warp.scale_low, self.warp.scale_high),
            (self.low_resolution.side_px_low, self.low_resolution.side_px_high),
            (self.jpeg.quality_low, self.jpeg.quality_high),
        ):
            if low > high:
                raise ValueError(f"a range from {low} to {high} is empty: put the smaller number first")
        return self

    def to_json(self) -> str:
        """What `augmentation.json` holds; `read_profile` reads it back."""
        return canonical_json(self.model_dump(mode="json")) + "\n"


def read_profile(name_or_file: str) -> AugmentationProfile:
    """A shipped profile by name, else one of your own by its JSON file. Raises ConfigError naming what is wrong."""
    file = Path(str(files("faceloop"))) / "training/reading/profiles" / f"{name_or_file}.json"
    if name_or_file not in shipped_profiles():
        file = Path(name_or_file)
    try:
        return AugmentationProfile.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        names = ", ".join(shipped_profiles())
        raise ConfigError(f"augmentation {name_or_file!r} is neither one of {names} nor a JSON file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "profile"
        raise ConfigError(f"augmentation {name_or_file!r}: {where}: {first['msg']}; correct the file") from error


def shipped_profiles() -> tuple[str, ...]:
    folder = Path(str(files("faceloop"))) / "training/reading/profiles"
    return tuple(sorted(file.stem for file in folder.glob("*.json")))

"""A picture of what a profile does, for people to look at before they train with it."""

import cv2
import numpy as np

from faceloop.training.reading.augmentation_profile import AugmentationProfile, read_profile
from faceloop.training.reading.augmenting import DRAWS, augmented
from faceloop.training.reading.occlusion import UInt8Array
from faceloop.training.reading.randomness import generator_for

_LABEL_PX = 18
_INK = (30, 30, 30)


def contact_sheet(crops_rgb: UInt8Array, profile: AugmentationProfile, *, seed: int) -> UInt8Array:
    """RGB picture: the crops (n, 112, 112, 3), then a row for every step of the profile alone, then all as trained."""
    rows = [("as stored", read_profile("none"))]
    rows += [(name, _alone(name, profile)) for name in _PARTS]
    rows += [(f"profile {profile.name}", profile)]
    strips = [_strip(title, crops_rgb, part, seed) for title, part in rows]
    return np.concatenate(strips)


_PARTS = ("flip", "warp", "light", "blur", "low_resolution", "noise", "jpeg", "mask", "sunglasses", "box")


def _alone(name: str, profile: AugmentationProfile) -> AugmentationProfile:
    """One step of a profile, at every picture, without the others."""
    none = read_profile("none")
    match name:
        case "flip":
            changed: dict[str, object] = {"flip_probability": 1.0}
        case "mask" | "sunglasses" | "box":
            changed = {"occlusion": profile.occlusion.model_copy(update=_only(name))}
        case _:
            changed = {name: getattr(profile, name).model_copy(update={"probability": 1.0})}
    return none.model_copy(update=changed)


def _only(name: str) -> dict[str, float]:
    return {f"{other}_probability": float(other == name) for other in ("mask", "sunglasses", "box")}


def _strip(title: str, crops_rgb: UInt8Array, profile: AugmentationProfile, seed: int) -> UInt8Array:
    draws = generator_for(seed).random((len(crops_rgb), DRAWS))
    pictures = [augmented(crop, profile, row) for crop, row in zip(crops_rgb, draws, strict=True)]
    strip = np.concatenate(pictures, axis=1)
    head = np.full((_LABEL_PX, strip.shape[1], 3), 255, np.uint8)
    cv2.putText(head, title.replace("_", " "), (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
    return np.concatenate([head, strip])

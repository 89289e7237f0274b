"""What a backbone is fed: crops as the release holds them, in the colours and scale of its pack."""

from dataclasses import dataclass

from torch import Tensor

from faceloop.vision.specs import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Pixels of one pack: channel order and `(x - mean) / std`, as `vision.recogniser.normalise` does them."""

    preprocessing: Preprocessing

    def pixels(self, images_rgb: Tensor) -> Tensor:
        """(B, 3, 112, 112) uint8 RGB to float32 in the pack's order."""
        ordered = images_rgb if self.preprocessing.colour == "RGB" else images_rgb.flip(1)
        return (ordered.float() - self.preprocessing.mean) / self.preprocessing.std

"""Pictures for the page: context crops, shrunk, as data URIs, within a budget."""

import base64
from dataclasses import dataclass, field

import numpy as np

from faceloop.redaction import Covers, covered
from facestore.crops import CropReader
from facestore.errors import KeyShredded, ShardCorrupt
from facestore.images import UInt8Array, encode_jpeg

_JPEG_QUALITY = 80


@dataclass(slots=True)
class Album:
    """Hands out pictures one at a time until `bytes_left` of the page are used. Nothing is kept in memory."""

    crops: CropReader
    bytes_left: int
    covers: Covers = field(default_factory=Covers)  # faces that are not to be shown
    is_left_out: bool = False  # no pictures at all
    missing: list[str] = field(default_factory=list)  # crop keys that the store no longer gives

    def picture(self, crop_key: str, side_px: int) -> str | None:
        """The context crop as a `data:` URI, its short side not much above `side_px`.

        None when the budget is used up, or the crop is gone or damaged (then its key is in `missing`).
        """
        if self.is_left_out or self.bytes_left <= 0:
            return None
        try:
            image = self.crops.image("context", crop_key)
            boxes = self.covers.of_crop(crop_key.rpartition("/")[2], image.shape[0])
            image = covered(image, boxes) if boxes else image
        except (ShardCorrupt, KeyShredded, KeyError, OSError):
            self.missing.append(crop_key)
            return None
        payload = base64.b64encode(encode_jpeg(shrunk(image, side_px), _JPEG_QUALITY)).decode("ascii")
        self.bytes_left -= len(payload)
        return f"data:image/jpeg;base64,{payload}"


def shrunk(image_rgb: UInt8Array, side_px: int) -> UInt8Array:
    """RGB (h, w, 3) uint8 averaged down by the whole factor that keeps its short side at `side_px` or above."""
    height, width, _ = image_rgb.shape
    factor = max(1, min(height, width) // side_px)
    rows, columns = height // factor, width // factor
    blocks = image_rgb[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), dtype=np.uint8)

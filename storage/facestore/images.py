"""JPEG in and out of stores. Only pixels are written, so no EXIF, GPS or thumbnail can leave with a crop."""

import cv2
import numpy as np
import numpy.typing as npt

from facestore.errors import DataError

UInt8Array = npt.NDArray[np.uint8]


def encode_jpeg(image_rgb: UInt8Array, quality: int) -> bytes:
    """JPEG bytes of an RGB image (h, w, 3) uint8, without chroma subsampling; `quality` in [1, 100]."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, payload = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise DataError(f"cannot encode an image of shape {image_rgb.shape}")
    return bytes(payload)


def decode_jpeg(payload: bytes | memoryview) -> UInt8Array:
    """RGB image (h, w, 3) uint8 of JPEG bytes; raises DataError when they are not an image."""
    image = None if not payload else cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DataError(f"{len(payload)} bytes are not a JPEG image")
    return np.asarray(image, dtype=np.uint8)

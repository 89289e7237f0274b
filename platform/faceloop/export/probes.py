"""Probe inputs that travel with an export, and what each form answers to them on the reference engine.

They are drawn from a seed: an engine is verified far away from here, and no face leaves with it.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from faceloop.export.engines import Form
from faceloop.vision.align import CROP_SIDE_PX
from faceloop.vision.arrays import Float32Array, UInt8Array
from facestore.errors import DataError

PROBES = "probes.npz"


def draw_probes(count: int, *, seed: int) -> UInt8Array:
    """`count` pictures of soft coloured blobs, uint8 RGB (count, 112, 112, 3)."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, size=(count, 7, 7, 3), dtype=np.uint8)
    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    return np.stack([cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in coarse]).astype(np.uint8)


def write_probes(folder: Path, inputs: Float32Array, vectors: Mapping[Form, Float32Array]) -> None:
    """Inputs as a graph takes them, float32 (n, 3, 112, 112), and unit vectors (n, d) by form."""
    arrays = {"inputs": inputs, **{f"vectors_{form}": found for form, found in vectors.items()}}
    with (folder / PROBES).open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # its stub takes every name for `allow_pickle`


def read_probes(folder: Path, form: Form) -> tuple[Float32Array, Float32Array]:
    """Inputs, and the reference vectors of one form. Raises DataError where they are not there."""
    try:
        with np.load(folder / PROBES, allow_pickle=False) as stored:
            inputs: Float32Array = stored["inputs"]
            vectors: Float32Array = stored[f"vectors_{form}"]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder / PROBES} has no probes of {form!r} ({error}); run export again") from error
    return inputs, vectors

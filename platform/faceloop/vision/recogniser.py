"""Aligned crops to unit vectors, under one embedding contract."""

from dataclasses import dataclass

import numpy as np

from faceloop.vision.align import CROP_SIDE_PX
from faceloop.vision.arrays import BoolArray, Float32Array, UInt8Array
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.sessions import InferenceSession
from facestore.errors import ConfigError, DataError, ModelCorrupt

_CROP_SHAPE = (CROP_SIDE_PX, CROP_SIDE_PX, 3)
_MIN_NORM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """`vectors` float32 (n, dimension): unit length where `is_valid` (n,), all zero elsewhere."""

    vectors: Float32Array
    is_valid: BoolArray


class Recogniser:
    """One recogniser of one pack on one engine; `contract` says what its vectors may be compared with."""

    def __init__(self, session: InferenceSession, *, contract: EmbeddingContract, batch_size: int) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; set it to 1 or more (8 suits a CPU)")
        expected = (3, CROP_SIDE_PX, CROP_SIDE_PX)
        if session.input_shape[1:] != expected:
            raise ModelCorrupt(f"recogniser takes {session.input_shape}, expected (n, {expected}); check the pack")
        dimensions = [shape[-1] for shape in session.output_shapes]
        if dimensions != [contract.dimension]:
            raise ModelCorrupt(
                f"recogniser gives outputs of dimension {dimensions}, the manifest says {contract.dimension}; "
                "correct embedding_dimension"
            )
        self.contract = contract
        self._session = session
        self._batch_size = batch_size

    def embed(self, crops_rgb: UInt8Array) -> Embeddings:
        """Embed aligned crops, uint8 RGB (n, 112, 112, 3), n ≥ 0.

        Crops for which the model gives no direction (not finite, or zero) are not valid, and never hidden.
        A crop's vector does not depend on its neighbours. Raises DataError for another shape or dtype.
        """
        if crops_rgb.dtype != np.uint8 or crops_rgb.ndim != 4 or crops_rgb.shape[1:] != _CROP_SHAPE:
            raise DataError(
                f"crops are {crops_rgb.dtype} {crops_rgb.shape}, expected uint8 (n, {CROP_SIDE_PX}, {CROP_SIDE_PX}, "
                "3) RGB; align them with faceloop.vision.align"
            )
        raw = np.empty((len(crops_rgb), self.contract.dimension), dtype=np.float32)
        for start in range(0, len(crops_rgb), self._batch_size):
            chunk = crops_rgb[start : start + self._batch_size]
            raw[start : start + len(chunk)] = self._session.run(normalise(chunk, self.contract))[0]
        with np.errstate(invalid="ignore", over="ignore"):
            norms = np.linalg.norm(raw.astype(np.float64), axis=1)
        is_valid = np.isfinite(norms) & (norms > _MIN_NORM)
        vectors = np.zeros_like(raw)
        vectors[is_valid] = raw[is_valid] / norms[is_valid, None]
        return Embeddings(vectors=vectors, is_valid=is_valid)


def normalise(crops_rgb: UInt8Array, contract: EmbeddingContract) -> Float32Array:
    """What the graph is fed: uint8 RGB (n, h, w, 3) to float32 (n, 3, h, w), `(x - mean) / std`, in its order."""
    ordered = crops_rgb if contract.colour == "RGB" else crops_rgb[..., ::-1]
    batch = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), dtype=np.float32)
    if (contract.mean, contract.std) != (0.0, 1.0):
        batch -= np.float32(contract.mean)
        batch /= np.float32(contract.std)
    return batch

"""Gold to vectors, chunk by chunk."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.gold import Gold
from faceloop.vision.recogniser import Recogniser

_CHUNK = 256  # crops in memory at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedded:
    """`vectors` float32 (n, d): unit length; all zero where no face was found or the model gave no direction.

    Such a face stays in and is like nobody: a model must not look better by refusing faces.
    """

    vectors: NDArray[np.float32]
    refused: int
    contract_id: str


def embed_gold(gold: Gold, recogniser: Recogniser) -> Embedded:
    """Embed every face of the gold. Raises as its crops and the recogniser do."""
    vectors = np.zeros((len(gold), recogniser.contract.dimension), np.float32)
    rows = np.flatnonzero(gold.has_crop)
    valid = 0
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        found = recogniser.embed(gold.crops.read(chunk.tolist()))
        vectors[chunk] = found.vectors
        valid += int(np.count_nonzero(found.is_valid))
    return Embedded(vectors=vectors, refused=len(gold) - valid, contract_id=recogniser.contract.contract_id)

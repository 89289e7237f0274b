"""Disagreement: pairs that the candidate and the labelling model decide differently, each at its own threshold.

Thresholds are those at which each accepts a share `far` of the same drawn pairs of two people, so neither model is
called stricter for the scale of its scores. Which of the two is right, the ground of the pair says.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import row_dots
from faceloop.mining.quarry import Quarry
from faceloop.questions.audits import lot
from faceloop.runner import Workspace
from faceloop.stages.evaluate import Params as EvaluateParams
from faceloop.vision.models import open_recogniser
from faceloop.vision.packs import load_pack
from facestore.crops import CropReader
from facestore.errors import DataError

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
MOST_EMBEDDED = 20_000  # faces; more are drawn by the seed
_DRAWN_PAIRS = 200_000
_BLOCK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """The candidate's vectors of the faces of a quarry."""

    vectors: Float32Array  # (n, d) unit; zero where not embedded
    is_embedded: BoolArray  # (n,)


def embed_with_candidate(
    work: Workspace, quarry: Quarry, params: EvaluateParams, is_barred: BoolArray, *, seed: int
) -> SecondOpinion:
    """Embed the wanted crops with the published candidate, on the engine that `evaluate` takes.

    Raises what loading a pack raises.
    """
    rows = np.flatnonzero(quarry.is_wanted & ~is_barred)
    if len(rows) > MOST_EMBEDDED:
        drawn = sorted(rows.tolist(), key=lambda row: lot(seed, "disagreement", quarry.faces[row].face_id))
        rows = np.array(sorted(drawn[:MOST_EMBEDDED]), np.int64)
    recogniser = open_recogniser(
        load_pack(
            str(work.path("candidate")),
            accept_licence=params.current.accept_licence,
            insightface_root=None,
            is_made_here=True,
        ),
        engine=params.current.engine,
        precision=params.current.precision,
        threads=work.threads,
        batch_size=params.batch_size,
        provider=params.current.provider,
    )
    vectors = np.zeros((len(quarry.faces), recogniser.contract.dimension), np.float32)
    is_embedded = np.zeros(len(quarry.faces), np.bool_)
    reader = CropReader(work.path("crops"))
    try:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            crops = np.stack([reader.image("aligned", quarry.faces[row].crop_key) for row in block.tolist()])
            found = recogniser.embed(crops)
            vectors[block], is_embedded[block] = found.vectors, found.is_valid
    finally:
        reader.close()
    return SecondOpinion(vectors=vectors, is_embedded=is_embedded)


def disagreeing(
    quarry: Quarry, second: SecondOpinion, *, far: float, seed: int
) -> Callable[[Int64Array, Int64Array], BoolArray]:
    """Whether two rows (e,), (e,) are one person to one model only. Raises DataError where two people are too few to
    find thresholds."""
    first_rows, second_rows = _strangers(quarry, np.flatnonzero(second.is_embedded), seed)
    if len(first_rows) * far < 1:
        raise DataError(
            f"mine: {len(first_rows)} drawn pairs of two people give no threshold at a FAR of {far:g}; widen the "
            "request, or raise its accept.far"
        )
    spaces = (quarry.vectors, second.vectors)
    thresholds = [
        np.quantile(row_dots(space, first_rows, space, second_rows), 1 - far, method="higher") for space in spaces
    ]

    def wants(left: Int64Array, right: Int64Array) -> BoolArray:
        said = [row_dots(space, left, space, right) >= at for space, at in zip(spaces, thresholds, strict=True)]
        found: BoolArray = (said[0] != said[1]) & second.is_embedded[left] & second.is_embedded[right]
        return found

    return wants


def _strangers(quarry: Quarry, rows: Int64Array, seed: int) -> tuple[Int64Array, Int64Array]:
    """Drawn pairs of rows of two identities."""
    if len(rows) < 2:
        return rows[:0], rows[:0]
    drawn = rows[np.random.default_rng(seed).integers(0, len(rows), (2, _DRAWN_PAIRS))]
    is_two = quarry.identity[drawn[0]] != quarry.identity[drawn[1]]
    return drawn[0][is_two], drawn[1][is_two]

"""make_unfamiliar: the out-of-distribution set of an evaluation, made anew from its seed."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.unfamiliar_sources.drawings import cartooned, outlined, pencilled
from faceloop.evaluation.unfamiliar_sources.masks import masked
from faceloop.evaluation.unfamiliar_sources.prints import printed
from faceloop.evaluation.unfamiliar_sources.statues import plastered
from faceloop.evaluation.unfamiliar_sources.things import hand_drawn, patterned, photographed

UInt8Array = NDArray[np.uint8]
_OF_FACES: dict[str, tuple[Callable[[UInt8Array, np.random.Generator], UInt8Array], ...]] = {
    "drawing": (outlined, pencilled, cartooned),
    "statue": (plastered,),
    "print": (printed,),
    "mask": (masked,),
}
_OF_NOTHING: tuple[Callable[[np.random.Generator], UInt8Array], ...] = (photographed, patterned, hand_drawn)
NO_FACE = "no_face"
KINDS = (*_OF_FACES, NO_FACE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnfamiliarPicture:
    """One picture. `row` is the crop that it was made from, -1 where it shows nobody."""

    kind: str
    row: int
    crop_rgb: UInt8Array  # (112, 112, 3)


def make_unfamiliar(
    crops_rgb: UInt8Array, identities: Sequence[int], *, pictures_per_kind: int, seed: int
) -> list[UnfamiliarPicture]:
    """`pictures_per_kind` pictures of every kind, from crops (n, 112, 112, 3) in a fixed order; people take turns.

    Without crops only the pictures of nobody are made.
    """
    turns = _in_turns(identities, seed)
    made: list[UnfamiliarPicture] = []
    for number, (kind, ways) in enumerate(_OF_FACES.items()):
        for place in range(pictures_per_kind if turns else 0):
            row = turns[place % len(turns)]
            rng = np.random.default_rng([seed, number, place])
            made.append(UnfamiliarPicture(kind=kind, row=row, crop_rgb=ways[place % len(ways)](crops_rgb[row], rng)))
    for place in range(pictures_per_kind):
        rng = np.random.default_rng([seed, len(_OF_FACES), place])
        way = _OF_NOTHING[place % len(_OF_NOTHING)]
        made.append(UnfamiliarPicture(kind=NO_FACE, row=-1, crop_rgb=way(rng)))
    return made


def _in_turns(identities: Sequence[int], seed: int) -> list[int]:
    """Rows, so that everybody is seen once before anybody is seen again."""
    rows_of: dict[int, list[int]] = defaultdict(list)
    order = np.random.default_rng([seed, 99]).permutation(len(identities))
    for row in order.tolist():
        rows_of[identities[row]].append(row)
    depth = max((len(rows) for rows in rows_of.values()), default=0)
    return [rows[turn] for turn in range(depth) for rows in rows_of.values() if turn < len(rows)]

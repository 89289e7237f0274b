"""Worst errors as contact sheets: two crops beside one another, their similarity under them, nobody's name."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.evaluation.gold import Gold
from faceloop.evaluation.pair_scores import STEPS, PairList
from facestore.images import UInt8Array

_COLUMNS = 4
_SIDE_PX, _GAP_PX, _CAPTION_PX = 112, 12, 28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetPair:
    """Two crops, RGB uint8 (112, 112, 3), and how alike the model finds them."""

    first: UInt8Array
    second: UInt8Array
    similarity: float


def sheet_pairs(
    gold: Gold, pairs: PairList, *, lowest: bool, limit: int, hidden: Collection[str] = ()
) -> tuple[SheetPair, ...]:
    """The first or last pairs of a list, at most one for each face, so that one odd face does not fill the sheet.

    `hidden`: ids of faces that may be measured and not be shown.
    """
    order = range(len(pairs) - 1, -1, -1) if lowest else range(len(pairs))
    seen: set[int] = set()
    chosen: list[SheetPair] = []
    for place in order:
        first, second = int(pairs.first[place]), int(pairs.second[place])
        if len(chosen) == limit:
            break
        if first in seen or second in seen or not (gold.has_crop[first] and gold.has_crop[second]):
            continue
        if gold.face_ids[first] in hidden or gold.face_ids[second] in hidden:
            continue
        seen |= {first, second}
        one, other = gold.crops.read([first, second])
        chosen.append(SheetPair(first=one, second=other, similarity=int(pairs.steps[place]) / STEPS))
    return tuple(chosen)


def save_sheet(pairs: Sequence[SheetPair], path: Path, *, title: str) -> None:
    """One PNG of pairs, the worst first. `pairs` must not be empty."""
    rows = -(-len(pairs) // _COLUMNS)
    wide, tall = 2 * _SIDE_PX + _GAP_PX, _SIDE_PX + _CAPTION_PX
    mosaic = np.full((rows * tall, _COLUMNS * wide, 3), 255, np.uint8)
    figure = Figure(figsize=(7.4, 7.4 * (rows * tall) / (_COLUMNS * wide) + 0.3), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1 - 0.3 / figure.get_figheight()))
    axes.set_axis_off()
    for place, pair in enumerate(pairs):
        top, left = place // _COLUMNS * tall + _CAPTION_PX, place % _COLUMNS * wide
        mosaic[top : top + _SIDE_PX, left : left + 2 * _SIDE_PX] = np.concatenate([pair.first, pair.second], axis=1)
        axes.text(left + 2, top - 5, f"{pair.similarity:.3f}", fontsize=7)
    axes.imshow(mosaic)
    figure.text(0.004, 1 - 0.2 / figure.get_figheight(), title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})

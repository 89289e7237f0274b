"""save_coverage: the matrix as a heat map. Rows are the bands of all axes, columns those of one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from faceloop.evaluation.coverage import CoverageMatrix, grid_of
from faceloop.evaluation.coverage_holes import Hole
from faceloop.evaluation.coverage_params import UNKNOWN

_HOLE = "#d55e00"  # vermilion of Okabe and Ito's palette: told from cividis with any colour vision
_ROW_IN, _WIDTH_IN, _DPI = 0.27, 7.0, 100


def save_coverage(matrix: CoverageMatrix, holes: Sequence[Hole], columns: str, path: Path) -> None:
    """A PNG 700 px wide. In each cell: samples, and below their number of people; holes of one or two axes are framed.

    An axis of which nothing is known takes one row. Equal matrices give equal bytes.
    """
    across = matrix.axis(columns)
    alone = grid_of(matrix, columns, columns).sum(axis=1)  # (bands, 2)
    shown = [place for place, band in enumerate(across.bands) if band != UNKNOWN or alone[place, 0]]
    everything = matrix.total
    labels = ["all"]
    blocks = [np.vstack([alone[shown], [[everything.samples, everything.identities]]])]
    starts: list[int] = []
    place_of: dict[tuple[str, str], int] = {}
    for axis in matrix.axes:
        if axis.name == columns:
            continue
        grid = grid_of(matrix, axis.name, columns)
        is_told = bool(grid[:-1, :, 0].any()) or axis.bands[-1] != UNKNOWN
        rows = [row for row in range(len(axis.bands)) if is_told or axis.bands[row] == UNKNOWN]
        if is_told and axis.bands[-1] == UNKNOWN and not grid[-1, :, 0].any():
            rows = rows[:-1]
        starts.append(len(labels))
        for row in rows:
            place_of[axis.name, axis.bands[row]] = len(labels)
            labels.append(f"{axis.name}  {spaced(axis.bands[row])}" if is_told else f"{axis.name}  unknown")
            whole = matrix.count({axis.name: axis.bands[row]})
            blocks.append(np.vstack([grid[row, shown], [[whole.samples, whole.identities]]]))
    table = np.stack(blocks)  # (rows, columns + 1, 2)
    figure = Figure(figsize=(_WIDTH_IN, 1.25 + _ROW_IN * len(labels)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, table, starts)
    axes.set_xticks(range(len(shown) + 1), [*(spaced(across.bands[place]) for place in shown), "all"], fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.xaxis.tick_top()
    axes.set_title(
        f"Coverage by {columns}: {everything.samples:,} samples of {everything.identities:,} people\n"
        "samples · people; framed: below its floor",
        loc="left",
        fontsize=10,
    )
    for hole in holes:
        for row, column in _framed(hole, columns, place_of, [across.bands[place] for place in shown]):
            frame = Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=_HOLE, linewidth=1.8)
            axes.add_patch(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})


def spaced(band: str) -> str:
    """A band as people read it: `30 to 60`, `< 0.2`, `≥ 60`, `hand or object`."""
    low, found, high = band.partition("_to_")
    if found and _is_number(low) and _is_number(high):
        return f"{low} to {high}".replace("-", "−")
    if band.startswith("below_"):
        return f"< {band.removeprefix('below_')}".replace("-", "−")
    if band.endswith("_up") and _is_number(band.removesuffix("_up")):
        return f"≥ {band.removesuffix('_up')}".replace("-", "−")
    return band.replace("_", " ")


def _is_number(text: str) -> bool:
    return text.replace("-", "", 1).replace(".", "", 1).isdigit()


def _draw(axes: Axes, table: NDArray[np.int64], starts: Sequence[int]) -> None:
    samples = table[:, :, 0].astype(np.float64)
    norm = LogNorm(vmin=1, vmax=max(float(samples.max(initial=0)), 2.0))
    axes.imshow(np.where(samples > 0, samples, np.nan), cmap="cividis", norm=norm, aspect="auto")
    axes.set_facecolor("#f3f1ec")
    for (row, column), count in np.ndenumerate(samples):
        people = int(table[row, column, 1])
        is_dark = count > 0 and float(norm(count)) < 0.55
        colour = "white" if is_dark else ("#222222" if count else "#8a867e")
        text = f"{int(count):,} · {people:,}" if count else "0"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    for start in starts:
        axes.axhline(start - 0.5, color="white", linewidth=3)
    axes.axvline(table.shape[1] - 1.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _framed(
    hole: Hole, columns: str, place_of: dict[tuple[str, str], int], shown: Sequence[str]
) -> list[tuple[int, int]]:
    """The cell of the picture that a hole is, if it has one: two axes at most, and of two one is the columns'."""
    where = dict(hole.where)
    band = where.pop(columns, None)
    if len(where) > 1 or (band is not None and band not in shown):
        return []
    column = len(shown) if band is None else shown.index(band)
    if not where:
        return [(0, column)]
    (pair,) = where.items()
    return [(place_of[pair], column)] if pair in place_of else []

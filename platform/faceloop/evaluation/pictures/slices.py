"""Slices as one PNG: a line a slice, the worst on top, candidate and current with their floor."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.evaluation.slices import SliceFigures

_MOST = 24
_CANDIDATE, _CURRENT, _FLOOR = "#2f6fb3", "#d9822b", "#30343a"


def save_slices(slices: Sequence[SliceFigures], path: Path, *, far: float) -> None:
    """The worst slices that can be told; refused ones stand in the table with their reason."""
    told = [row for row in slices if row.tar is not None and row.interval is not None][:_MOST]
    figure = Figure(figsize=(6.4, max(1.6, 0.3 * len(told) + 1.2)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if not told:
        axes.text(0.5, 0.5, "no slice is large enough to tell", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
    for place, row in enumerate(told):
        if row.tar is None or row.interval is None:
            continue
        bounds = [[max(0.0, row.tar - row.interval.low)], [max(0.0, row.interval.high - row.tar)]]
        axes.errorbar(row.tar, place, xerr=bounds, fmt="o", color=_CANDIDATE, markersize=4.5, capsize=2.5)
        if row.current_tar is not None:
            axes.plot(row.current_tar, place, marker="|", color=_CURRENT, markersize=11, markeredgewidth=2)
        if row.floor is not None:
            axes.plot([row.floor, row.floor], [place - 0.4, place + 0.4], color=_FLOOR, linewidth=1.4, linestyle=":")
    if told:
        axes.set_yticks(range(len(told)), [f"{row.kind} {row.band.replace('_', ' ')}" for row in told], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel(f"TAR at the threshold of FAR {far:g}: dot candidate, bar current, dotted floor", fontsize=8)
        axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})

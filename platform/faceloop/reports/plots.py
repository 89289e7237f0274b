"""The report's pictures as PNG files, for `dvc plots` and for slides. The one home of matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.questions.curve import CurvePoint
from faceloop.reports.flow import Flow
from faceloop.reports.histograms import Histogram

_COLOURS = ("#2f6fb3", "#d9822b", "#5b8c5a", "#8d6ab0", "#b0564a", "#7a7f87")


def save_histogram(histogram: Histogram, path: Path, *, stacked: bool) -> None:
    """One PNG with a bar a bin; bins are drawn equally wide."""
    figure, axes = _figure()
    places = range(len(histogram.edges) - 1)
    bottom = [0] * len(places)
    for number, series in enumerate(histogram.series):
        colour = _COLOURS[number % len(_COLOURS)]
        alpha = 1 if stacked else 0.6
        axes.bar(places, series.counts, bottom=bottom, width=0.9, color=colour, label=series.name, alpha=alpha)
        bottom = [low + count for low, count in zip(bottom, series.counts, strict=True)] if stacked else bottom
    axes.set_xticks([place - 0.5 for place in places][::2], [f"{edge:g}" for edge in histogram.edges[:-1]][::2])
    axes.set_xlabel(histogram.unit)
    axes.set_title(histogram.title, loc="left")
    if histogram.series:
        axes.legend(frameon=False)
    _save(figure, path)


def save_losses(flow: Flow, path: Path) -> None:
    """One PNG: what was not published, by stage and reason."""
    losses = [(f"{stage.stage}: {loss.reason}", loss.count) for stage in flow.stages for loss in stage.losses]
    _save_bars([name for name, _ in losses], [float(count) for _, count in losses], "Losses by reason", "items", path)


def save_timing(flow: Flow, path: Path) -> None:
    """One PNG: wall seconds of each stage."""
    names = [timing.stage for timing in flow.timings]
    _save_bars(names, [timing.wall_s for timing in flow.timings], "Wall time by stage", "seconds", path)


def save_curves(curves: Mapping[str, Sequence[CurvePoint]], path: Path, *, title: str) -> None:
    """One PNG: pairwise F of each strategy against questions and against minutes; bands span the runs."""
    figure = Figure(figsize=(8.4, 3.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        scores = [point.pairwise_f for point in points]
        span = [point.lowest_f for point in points], [point.highest_f for point in points]
        across = ([float(point.questions) for point in points], [point.minutes for point in points])
        for axes, places in zip(panels, across, strict=True):
            axes.plot(places, scores, color=colour, label=name)
            axes.fill_between(places, *span, color=colour, alpha=0.15, linewidth=0)
            axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_xlabel("questions answered")
    panels[1].set_xlabel("minutes of a person")
    panels[0].set_ylabel("pairwise F")
    panels[0].set_title(title, loc="left")
    panels[1].legend(frameon=False, loc="lower right")
    _save(figure, path)


def _save_bars(names: Sequence[str], values: Sequence[float], title: str, unit: str, path: Path) -> None:
    figure, axes = _figure(max(2.0, 0.35 * len(names) + 1.2), "constrained")  # labels of any length
    axes.barh(range(len(names)), values, color=_COLOURS[0])
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title if names else f"{title}: none", loc="left")
    _save(figure, path)


def _figure(height_in: float = 3.2, layout: Literal["constrained"] | None = None) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, height_in), dpi=110, layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if layout is None:
        figure.subplots_adjust(left=0.1, right=0.98, bottom=0.17, top=0.9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})  # no version: equal numbers, equal bytes

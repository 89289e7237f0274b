"""ROC, DET and score histograms as PNG: candidate and current in one frame, refused parts marked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.evaluation.gold import Int64Array
from faceloop.evaluation.measuring import MeasuredGold, MeasuredModel
from faceloop.evaluation.pair_scores import STEPS, counts_at_least

_COLOURS = {"candidate": "#2f6fb3", "current": "#d9822b"}  # told apart by colour-blind eyes, too
_SOFT = "#7a7f87"
_POINTS = 400
_HISTOGRAM_BINS = 100


def save_roc(measured: MeasuredGold, path: Path) -> None:
    """TAR against FAR on a log scale; bars are the intervals of the figures in the table."""
    figure, axes = _figure()
    if not _has_pairs(measured):
        _say_nothing(axes)
        return _save(figure, path)
    shown = _shown_from(measured)
    lowest = 1.0
    for name, model in _models(measured):
        far, tar = rates(model)
        keep = far >= shown / 3
        axes.plot(far[keep], tar[keep], color=_COLOURS[name], label=name, linewidth=1.8)
        lowest = min([lowest, *tar[keep].tolist()])
        shift = 0.97 if name == "candidate" else 1.03
        for at in model.model.verified.figures.at:
            if at.tar is not None and at.interval is not None:
                error = [[max(0.0, at.tar - at.interval.low)], [max(0.0, at.interval.high - at.tar)]]
                lowest = min(lowest, at.interval.low)
                axes.errorbar(
                    at.far * shift, at.tar, yerr=error, color=_COLOURS[name], fmt="o", markersize=4, capsize=3
                )
    axes.set_xscale("log")
    axes.set_xlim(shown / 3, 1)
    axes.set_ylim(max(0.0, lowest - 0.05 * (1.02 - lowest)), 1 + 0.05 * (1.02 - lowest))
    _shade(axes, measured, shown / 3)
    axes.set_xlabel("FAR: strangers taken for one person")
    axes.set_ylabel("TAR: pairs of one person accepted")
    axes.set_title("ROC", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    return _save(figure, path)


def save_det(measured: MeasuredGold, path: Path) -> None:
    """False rejects against false accepts, both on log scales (Martin et al. 1997, without the normal warp)."""
    figure, axes = _figure()
    if not _has_pairs(measured):
        _say_nothing(axes)
        return _save(figure, path)
    shown = _shown_from(measured)
    least = min(1 / model.model.scores.genuine_pairs for _, model in _models(measured))
    for name, model in _models(measured):
        far, tar = rates(model)
        keep = far >= shown / 3
        axes.plot(far[keep], np.maximum(1 - tar[keep], least), color=_COLOURS[name], label=name, linewidth=1.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(shown / 3, 1)
    axes.set_ylim(least * 0.8, 1)
    _shade(axes, measured, shown / 3)
    axes.plot([least, 1], [least, 1], color=_SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlabel("FAR: strangers taken for one person")
    axes.set_ylabel("FRR: pairs of one person missed")
    axes.set_title("DET", loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="upper right")
    return _save(figure, path)


def save_scores(measured: MeasuredGold, path: Path) -> None:
    """Similarities of genuine and impostor pairs, a panel a model; dotted: thresholds that are not refused."""
    figure = Figure(figsize=(6.4, 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels: Sequence[Axes] = figure.subplots(2, 1, sharex=True)
    edges = np.linspace(-1, 1, _HISTOGRAM_BINS + 1)
    for axes, (name, model) in zip(panels, _models(measured), strict=True):
        scores = model.model.scores
        for label, counts, colour in (
            ("two people", scores.impostor_counts, _SOFT),
            ("one person", scores.genuine_counts, _COLOURS[name]),
        ):
            shares = _binned(counts)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.55, label=f"{label} ({int(counts.sum()):,})")
        told = [at for at in model.model.verified.figures.at if at.threshold is not None]
        top = axes.get_ylim()[1]
        for rank, at in enumerate(told):
            axes.axvline(at.threshold or 0.0, color="#30343a", linewidth=0.8, linestyle=":")
            axes.text((at.threshold or 0.0) + 0.006, top * (0.92 - 0.11 * rank), f"FAR {at.far:g}", fontsize=7)
        axes.set_ylabel("share of pairs")
        axes.set_title(name, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left", fontsize=8)
    panels[-1].set_xlabel("similarity (cosine)")
    panels[-1].set_xlim(-0.6, 1)
    return _save(figure, path)


def rates(model: MeasuredModel) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]  # float64 (p,) each
    """FAR and TAR at thresholds that are even in the logarithm of the FAR, both rising."""
    scores = model.model.scores
    genuine, impostors = counts_at_least(scores.genuine_counts), counts_at_least(scores.impostor_counts)
    total = max(int(impostors[0]), 1)
    wanted = np.unique(np.rint(np.geomspace(1, total, _POINTS)).astype(np.int64))
    steps = np.searchsorted(-impostors, -wanted, side="left")
    return impostors[steps] / total, genuine[steps] / max(int(genuine[0]), 1)


def _binned(counts: Int64Array) -> np.ndarray:  # type: ignore[type-arg]  # float64 (bins,)
    width = 2 * STEPS // _HISTOGRAM_BINS
    sums = np.add.reduceat(counts[:-1], np.arange(0, 2 * STEPS, width)).astype(np.float64)
    sums[-1] += counts[-1]
    return np.asarray(sums / max(int(counts.sum()), 1))


def _models(measured: MeasuredGold) -> tuple[tuple[str, MeasuredModel], ...]:
    return ("current", measured.current), ("candidate", measured.candidate)


def _has_pairs(measured: MeasuredGold) -> bool:
    scores = measured.candidate.model.scores
    return scores.genuine_pairs > 0 and scores.impostor_pairs > 0


def _refused(measured: MeasuredGold) -> list[float]:
    return [at.far for at in measured.candidate.model.verified.figures.at if at.refused is not None]


def _shown_from(measured: MeasuredGold) -> float:
    """The lowest FAR in the picture: as far as asked for, and as pairs go."""
    asked = min(at.far for at in measured.candidate.model.verified.figures.at)
    return max(asked, 1 / measured.candidate.model.scores.impostor_pairs)


def _shade(axes: Axes, measured: MeasuredGold, left: float) -> None:
    refused = _refused(measured)
    if refused and max(refused) > left:
        right = max(refused) * 1.3
        axes.axvspan(left, right, color=_SOFT, alpha=0.14, linewidth=0)
        axes.text(left * 1.15, axes.get_ylim()[1], " too little gold to tell", fontsize=8, color="#4b5058", va="top")


def _say_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no pairs of both kinds", ha="center", va="center", transform=axes.transAxes, color=_SOFT)
    axes.set_axis_off()


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})  # no version: equal numbers, equal bytes

"""save_unfamiliar: a contact sheet, a row a kind, with what the model made of each picture."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.evaluation.unfamiliar_figures import UnfamiliarFigures, UnfamiliarSight

_COLUMNS, _SIDE_IN, _DPI = 9, 0.78, 100
_FALSE, _LET_IN, _QUIET = "#d55e00", "#e69f00", "#8a867e"  # Okabe and Ito's palette


def save_unfamiliar(figures: UnfamiliarFigures, path: Path) -> None:
    """A PNG 780 px wide: pictures of each kind, those taken for somebody else first, then by cosine.

    Thick frame: taken for somebody else at the door; thin: only if let in; `not seen`, `poor`: the door holds.
    """
    kinds = figures.kinds

    def first(sight: UnfamiliarSight) -> tuple[float, float]:
        return -_frame(sight, figures.threshold)[1], -sight.similarity

    figure = Figure(figsize=(_SIDE_IN * (_COLUMNS + 1), 0.62 + 1.02 * len(kinds)), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.005, right=0.995, top=1 - 0.5 / (0.62 + 1.02 * len(kinds)), bottom=0.03, hspace=0.42)
    figure.suptitle(
        f"Nearest of {figures.people:,} people: cosine, threshold {figures.threshold:.3f}. "
        "Thick frame: false at the door; thin: false if let in",
        x=0.008, y=0.99, ha="left", fontsize=9,
    )  # fmt: skip
    grid = figure.subplots(len(kinds), _COLUMNS + 1, squeeze=False)
    for row, kind in enumerate(kinds):
        own = sorted((sight for sight in figures.sights if sight.kind == kind.kind), key=first)
        for axes in grid[row]:
            axes.axis("off")
        false = kind.false_at_door or kind.false_let_in
        seen = f"{kind.detected.hits} seen\n" if kind.detected is not None else ""
        text = f"{kind.kind.replace('_', ' ')}\n{kind.pictures} pictures\n{seen}{false.hits} false"
        grid[row][0].text(0, 0.5, text, fontsize=7.5, va="center", transform=grid[row][0].transAxes)
        for axes, sight in zip(grid[row][1:], own, strict=False):
            axes.imshow(sight.crop_rgb)
            axes.set_title(
                _title(sight, figures.threshold, is_asked=kind.detected is not None), fontsize=7, pad=2, color="#222222"
            )
            colour, width = _frame(sight, figures.threshold)
            axes.axis("on")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(colour)
                spine.set_linewidth(width)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})


def _title(sight: UnfamiliarSight, threshold: float, *, is_asked: bool) -> str:
    if is_asked and sight.det_score is None:
        return f"{sight.similarity:.2f} not seen"
    if is_asked and sight.door_similarity is None:
        return f"{sight.similarity:.2f} poor"
    is_false = _frame(sight, threshold)[0] == _FALSE and sight.door_similarity is not None
    return f"{sight.door_similarity if is_false else sight.similarity:.2f}"


def _frame(sight: UnfamiliarSight, threshold: float) -> tuple[str, float]:
    door = sight.door_similarity
    if door is not None and door >= threshold and not sight.is_of_nearest_at_door:
        return _FALSE, 3.5
    if sight.similarity >= threshold and not sight.is_of_nearest:
        return _LET_IN, 2.0
    return _QUIET, 0.6

"""A sweep as `trials.csv` and `trials.png`: what was tried, and what came of it."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from faceloop.experiments.sweep_spec import Range, SweepSpec
from faceloop.experiments.sweeping import Swept, TrialRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE, PICTURE = "trials.csv", "trials.png"
_BEST, _OTHERS = "#1a7f37", "#1f6feb"


def save_sweep(swept: Swept, spec: SweepSpec) -> None:
    """Into the sweep's folder; the same trials give the same bytes."""
    with (swept.folder / TABLE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", spec.metric, *sorted(spec.space), "state"])
        writer.writerows(
            [row.number, row.value, *(value_of(row, key) for key in sorted(spec.space)), _state(row, swept.best)]
            for row in swept.rows
        )
    _draw(swept.folder / PICTURE, swept, spec)


def value_of(row: TrialRow, key: str) -> object:
    """What the trial set a key to."""
    pairs = dict(override.split("=", 1) for override in row.overrides)
    return json.loads(pairs[key])


def _state(row: TrialRow, best: TrialRow) -> str:
    if row.value is None:
        return "refused" if row.refused is not None else "pruned"
    return "best" if row.number == best.number else "finished"


def _draw(path: Path, swept: Swept, spec: SweepSpec) -> None:
    from matplotlib.figure import Figure

    keys = sorted(spec.space)
    figure = Figure(figsize=(3.0 * len(keys) + 0.6, 3.0), dpi=110, layout="constrained")
    finished = [row for row in swept.rows if row.value is not None]
    for place, key in enumerate(keys):
        axes = figure.add_subplot(1, len(keys), place + 1)
        space = spec.space[key]
        _points(axes, key, finished, swept.best, is_number=isinstance(space, Range))
        if isinstance(space, Range) and space.log:
            axes.set_xscale("log")
        axes.set_xlabel(key.removeprefix("train."))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        if place == 0:
            axes.set_ylabel(spec.metric)
    figure.savefig(path, metadata={"Software": None})


def _points(axes: "Axes", key: str, rows: Sequence[TrialRow], best: TrialRow, *, is_number: bool) -> None:
    for row in rows:
        value, is_best = value_of(row, key), row.number == best.number
        at = float(str(value)) if is_number else json.dumps(value)
        axes.plot([at], [row.value or 0.0], "o", color=_BEST if is_best else _OTHERS, markersize=8 if is_best else 5)

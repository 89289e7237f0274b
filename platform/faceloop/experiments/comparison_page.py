"""A comparison as files: `curves.png`, and `index.html` that needs nothing else. Equal runs give equal bytes."""

import base64
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from faceloop.experiments.comparing import Comparison
from faceloop.experiments.recording import Trained

PAGE, CURVES = "index.html", "curves.png"
SHORT = 12
_COLOURS = ("#1f6feb", "#bf3989")


def save_comparison(folder: Path, first: Trained, second: Trained, found: Comparison) -> Path:
    """Fill the folder; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    _draw(folder / CURVES, first, second)
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("faceloop", "experiments"), PackageLoader("faceloop", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    picture = base64.b64encode((folder / CURVES).read_bytes()).decode("ascii")
    page = environment.get_template("comparison.html.j2").render(
        runs=(first, second), found=found, picture=f"data:image/png;base64,{picture}", short=SHORT
    )
    (folder / PAGE).write_text(page, encoding="utf-8")
    return folder / PAGE


def _draw(path: Path, *runs: Trained) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    for run, colour in zip(runs, _COLOURS, strict=True):
        curve = run.training.curve
        points = [point for point in curve if isinstance(point, list)] if isinstance(curve, list) else []
        steps, losses = [point[0] for point in points], [point[1] for point in points]
        axes.plot(steps, losses, color=colour, linewidth=1.2, label=run.training.run_key[:SHORT])  # type: ignore[arg-type]
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})

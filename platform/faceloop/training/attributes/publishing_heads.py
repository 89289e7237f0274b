"""What a training of heads leaves beside its models: attributes.json, metrics.json, confusion pictures, report.html."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faceloop.training.attributes.measuring_heads import HeadFigures
from faceloop.training.attributes.one_set import HeadSet
from facestore.ids import JsonValue, canonical_json

INDEX, METRICS, PAGE, PICTURES = "attributes.json", "metrics.json", "report.html", "pictures"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedSet:
    """A trained set under its name (`faces`, `clips`), with what its one input is and the bytes of its model."""

    name: str
    takes: str  # embedding, pixels, clip
    made: HeadSet
    model: bytes
    untrained: Mapping[str, str]


def write_index(
    folder: Path,
    sets: Sequence[PublishedSet],
    *,
    contract_id: str | None,
    backbone_id: str | None,
    reason: str | None,
    untrained: Mapping[str, str],
) -> None:
    """`attributes.json`: what each model takes and says. `reason` tells why there is no model at all."""
    index: dict[str, JsonValue] = {
        "version": 1,
        "contract_id": contract_id,
        "backbone": backbone_id,
        "reason": reason,
        "untrained": dict(sorted(untrained.items())),
        "sets": {one.name: _described(one) for one in sets},
    }
    (folder / INDEX).write_text(canonical_json(index) + "\n", encoding="utf-8")


def _described(one: PublishedSet) -> JsonValue:
    heads: list[JsonValue] = []
    for head in one.made.heads:
        calibration = one.made.calibrations.get(head.name)
        heads.append(
            {
                "name": head.name,
                "kind": head.kind,
                "values": list(head.values),
                "temperature": calibration.temperature if calibration else None,
                "sure_probability": calibration.sure_probability if calibration else None,
            }
        )
    return {
        "file": f"{one.name}.onnx",
        "sha256": sha256(one.model).hexdigest(),
        "input": one.takes,
        "heads": heads,
        "untrained": dict(sorted(one.untrained.items())),
        "samples": {str(split): count for split, count in one.made.counts.items()},
        "epochs": len(one.made.trained.losses),
        "kept_epoch": one.made.trained.best_epoch,
    }


def write_metrics(folder: Path, sets: Sequence[PublishedSet]) -> None:
    """`metrics.json`: flat numbers `SET.ATTRIBUTE.FIGURE`, and its `.low`, `.high`, `.baseline`; refused ones lack."""
    flat: dict[str, JsonValue] = {}
    for one in sets:
        for head in one.made.figures:
            start = f"{one.name}.{head.name}"
            flat |= {f"{start}.test_items": head.test_faces, f"{start}.test_people": head.test_people}
            for name, found in head.figures.items():
                flat[f"{start}.{name}"] = round(found.value, 6)
                flat[f"{start}.{name}.low"] = round(found.low, 6)
                flat[f"{start}.{name}.high"] = round(found.high, 6)
                flat[f"{start}.{name}.baseline"] = round(found.baseline, 6)
    (folder / METRICS).write_text(canonical_json(dict(sorted(flat.items()))) + "\n", encoding="utf-8")


def write_page(folder: Path, sets: Sequence[PublishedSet], *, reason: str | None, confidence: float) -> None:
    """`report.html` with the confusion matrices inside, which also lie in `pictures/`."""
    parts = [f"<p>{escape(reason)}</p>"] if reason else []
    if sets:
        parts.append(
            f"<p>On people whom the heads never saw. Ranges: {confidence:.0%}, people drawn again. "
            "Baseline: always the most frequent value, or the mean, of the train split.</p>"
        )
    for one in sets:
        parts.append(f"<h2>{escape(one.name)}: takes {escape(one.takes)}</h2>")
        parts += [_section(folder, one, head) for head in one.made.figures]
        for name, why in sorted(one.untrained.items()):
            parts.append(f"<h3>{escape(name)}</h3><p>Not trained: {escape(why.replace('_', ' '))}.</p>")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Attribute heads</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "td,th{padding:.2rem .8rem;text-align:right}td:first-child,th:first-child{text-align:left}"
        "img{max-width:100%}</style>"
        f"<h1>Attribute heads</h1>{''.join(parts)}</html>\n"
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def _section(folder: Path, one: PublishedSet, head: HeadFigures) -> str:
    title = f"<h3>{escape(head.name)}</h3>"
    if head.refused is not None:
        return f"{title}<p>Not measured: {escape(head.refused)}.</p>"
    rows = "".join(
        f"<tr><td>{escape(name.replace('_', ' '))}</td><td>{found.value:.3f}</td>"
        f"<td>{found.low:.3f} … {found.high:.3f}</td><td>{found.baseline:.3f}</td></tr>"
        for name, found in head.figures.items()
    )
    table = (
        f"<p>{head.test_faces:,} items of {head.test_people:,} people.</p><table><tr><th></th><th>found</th>"
        f"<th>range</th><th>baseline</th></tr>{rows}</table>"
    )
    if head.confusion is None:
        return title + table
    path = folder / PICTURES / f"{one.name}_{head.name}.png"
    values = next(its.values for its in one.made.heads if its.name == head.name)
    _save_confusion(head, values, path)
    picture = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'{title}{table}<img alt="confusion matrix" src="data:image/png;base64,{picture}">'


def _save_confusion(head: HeadFigures, values: Sequence[str], path: Path) -> None:
    if head.confusion is None:
        return
    size = 1.8 + 0.55 * len(values)
    figure = Figure(figsize=(size + 0.8, size), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = head.confusion / head.confusion.sum(axis=1, keepdims=True).clip(min=1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(values)):
        for column in range(len(values)):
            shade = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(head.confusion[row, column]), ha="center", va="center", color=shade, fontsize=8)
    names = [value.replace("_", " ") for value in values]
    axes.set_xticks(range(len(values)), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(values)), names, fontsize=8)
    axes.set_xlabel("said", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None})

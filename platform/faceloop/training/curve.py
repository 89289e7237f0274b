"""The loss curve: one JSON line a step and one a validation, and a picture of both."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from facestore.ids import JsonValue, canonical_json

_INK, _BLUE, _GREEN = "#57606a", "#1f6feb", "#1a7f37"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the optimiser: the loss it saw, the gradient's norm before clipping, the learning rate."""

    step: int
    epoch: int
    loss: float
    gradient_norm: float | None  # null where half precision overflowed, and the step was left out
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Verification on the val split after `step` steps: share of genuine pairs above the threshold of `far`."""

    step: int
    epoch: int
    tar: float
    far: float
    genuine_pairs: int
    impostor_pairs: int


Point = Step | Validation


def line_of(point: Point) -> str:
    return canonical_json(dict[str, JsonValue](asdict(point))) + "\n"


def point_of(line: str) -> Point:
    """The inverse of `line_of`, to the bit."""
    fields = json.loads(line)
    return Validation(**fields) if "tar" in fields else Step(**fields)


class CurveFile:
    """The curve of a running training, on disk while it runs: `tail -f` it. Rank 0 writes, all ranks know it."""

    def __init__(self, path: Path, *, is_writer: bool) -> None:
        self.points: list[Point] = []
        self._path, self._is_writer = path, is_writer

    def rewind(self, step: int) -> None:
        """Read what was written up to `step`; later lines are of steps that a kill undid, and go."""
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True) if self._path.is_file() else []
        whole = [point_of(line) for line in lines if line.endswith("\n")]
        self.points = [point for point in whole if point.step <= step]

    def rewrite(self) -> None:
        """Put the file right after `rewind`, once every rank has read it."""
        if self._is_writer:
            self._path.write_text("".join(map(line_of, self.points)), encoding="utf-8")

    def add(self, point: Point) -> None:
        self.points.append(point)
        if self._is_writer:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line_of(point))

    def validations(self) -> list[Validation]:
        return [point for point in self.points if isinstance(point, Validation)]

    def flush(self) -> None:
        """To the disk, before a checkpoint that counts on it."""
        if self._is_writer:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())


def write_curve(folder: Path, points: Sequence[Point]) -> None:
    """`curve.jsonl` and `curve.png`; the same points give the same bytes."""
    (folder / "curve.jsonl").write_text("".join(map(line_of, points)), encoding="utf-8")
    _draw(folder / "curve.png", points)


def _draw(path: Path, points: Sequence[Point]) -> None:
    from matplotlib.figure import Figure

    steps = [point for point in points if isinstance(point, Step)]
    checks = [point for point in points if isinstance(point, Validation)]
    figure = Figure(figsize=(7.2, 3.2), dpi=110, layout="constrained")
    loss = figure.add_subplot()
    loss.plot([p.step for p in steps], [p.loss for p in steps], color=_BLUE, linewidth=1.2)
    loss.set_xlabel("step", color=_INK)
    loss.set_ylabel("loss", color=_BLUE)
    loss.spines[["top", "right"]].set_visible(False)
    loss.grid(axis="y", color="#d0d7de", linewidth=0.6)
    if checks:
        tar = loss.twinx()
        tar.plot([p.step for p in checks], [p.tar for p in checks], "o-", color=_GREEN, linewidth=1, markersize=4)
        tar.set_ylim(0, 1.02)
        tar.set_ylabel(f"val: TAR at FAR {checks[-1].far:.2g}", color=_GREEN)
        tar.spines[["top", "left"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})

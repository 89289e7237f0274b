"""One trial of a sweep: the real stages in a place of their own, over the root's release. Nothing published changes."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from faceloop.experiments.forking import write_params
from faceloop.experiments.sweep_spec import VAL_TAR, SweepSpec
from faceloop.labelling_model import with_model_named
from faceloop.params import Tree, read_params
from faceloop.progress import ProgressReporter
from faceloop.runner import Workspace, open_workspace, run_stage
from facestore.errors import StageError
from facestore.ids import JsonValue

Item = TypeVar("Item")
OnValidation = Callable[[int, float], None]  # step, TAR; raises to end the trial
_READ = ("release", "faces", "embeddings", "assignments")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationWatch:
    """Passes progress on, and whenever something is said looks whether the live curve has a new validation."""

    inner: ProgressReporter
    trainings: Path
    seen: set[int]
    on_validation: OnValidation

    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        return self.inner.track(items, label)

    def say(self, text: str) -> None:
        self.inner.say(text)
        for step, tar in [point for file in self.trainings.glob("*/curve.jsonl") for point in _validations(file)]:
            if step not in self.seen:
                self.seen.add(step)
                self.on_validation(step, tar)


def trial_tree(work: Workspace, overrides: Sequence[str], folder: Path) -> Tree:
    """The root's params with the trial's, its inputs named where they lie, its ledger its own. Kept beside it."""
    tree: Tree = copy.deepcopy(with_model_named(work.tree, "evaluate", work.model_places()))
    places: dict[str, JsonValue] = {**work.paths.model_dump()}
    places |= {name: str(work.path(name).resolve()) for name in _READ}
    tree["paths"] = {**places, "ledger": "ledger.sqlite3", "objects": "objects", "source": "source"}
    only_val = ['evaluate.splits=["val"]', "evaluate.gold=[]"]
    return read_params(write_params(folder / "params.yaml", tree, [*overrides, *only_val]))


def run_trial(
    work: Workspace, spec: SweepSpec, overrides: Sequence[str], folder: Path, on_validation: OnValidation
) -> float:
    """Train, and return the metric. A trial that a kill cut short goes on from its checkpoint.

    Raises ConfigError for params that do not go together, StageError where the metric cannot be had, and what
    `on_validation` raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    watch = ValidationWatch(inner=work.progress, trainings=folder / "training", seen=set(), on_validation=on_validation)
    tree = trial_tree(work, overrides, folder)
    place = open_workspace(folder, tree, threads=work.threads, progress=watch)
    run_stage(place, "train")
    if spec.metric == VAL_TAR:
        return _kept_tar(place.path("candidate"))
    run_stage(place, "evaluate")
    figures = json.loads((place.path("evaluation") / "metrics.json").read_bytes())
    if spec.metric not in figures:
        raise InvalidMetric(
            f"evaluate states no {spec.metric} on the val split; it is refused for want of pairs, or no figure of its"
        )
    return float(figures[spec.metric])


class InvalidMetric(StageError):
    """The sweep cannot go on: no trial will have this figure."""


def _kept_tar(candidate: Path) -> float:
    """TAR of the weights that were kept: the best where patience is set, else the last."""
    said = json.loads((candidate / "training.json").read_bytes())
    tars = [float(one["tar"]) for one in said["validations"]]
    if not tars:
        raise InvalidMetric("the val split has too few pairs to verify on; raise pack.val_share, or add people")
    return max(tars) if said["params"]["schedule"]["patience"] else tars[-1]


def _validations(curve: Path) -> list[tuple[int, float]]:
    lines = curve.read_text(encoding="utf-8").splitlines(keepends=True)
    points: list[dict[str, JsonValue]] = [json.loads(line) for line in lines if line.endswith("\n") and '"tar"' in line]
    return [(int(str(point["step"])), float(str(point["tar"]))) for point in points]

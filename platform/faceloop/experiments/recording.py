"""Write down a published training or evaluation: params, code, lock, release, machine, figures. Twice is once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from faceloop.experiments.settings import is_dirty, lock_digest, this_machine
from faceloop.runner import Outcome, Workspace
from facestore.errors import StageError
from facestore.ids import JsonValue
from facestore.ledger import Ledger
from facestore.publish import read_manifest
from facestore.runlog import ModelRun, RunLog

RECORDED = {"train": "candidate", "evaluate": "evaluation"}  # stage → what it publishes
_MOST_POINTS = 400
_SHORTEST = 6  # hex digits that name a run


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training and, once there is one, its latest evaluation."""

    training: ModelRun
    recorded_at: datetime
    evaluation: ModelRun | None


@contextmanager
def opened_runs(work: Workspace) -> Iterator[RunLog]:
    """The runs of a workspace's catalogue."""
    work.root.mkdir(parents=True, exist_ok=True)
    log = RunLog(work.ledger_url())
    try:
        yield log
    finally:
        log.close()


def record_run(work: Workspace, outcome: Outcome, *, revision: str | None, forked_from: str | None = None) -> None:
    """Record what `run_stage` published; a stage other than train and evaluate is left alone.

    Where another run has published over it since, nothing is written: its own caller records that one.
    """
    if outcome.stage not in RECORDED or not outcome.is_published:
        return
    folder = work.path(RECORDED[outcome.stage])
    manifest = read_manifest(folder)
    if manifest is None or manifest.run_key != outcome.run_key:
        return
    is_training = outcome.stage == "train"
    run = ModelRun(
        run_key=outcome.run_key,
        stage=outcome.stage,
        release=manifest.inputs.get("release", ""),
        candidate=manifest.digest if is_training else manifest.inputs.get("candidate", ""),
        output=manifest.digest,
        params={name: value for name, value in work.tree.items() if name not in {"root", "paths"}},
        revision=revision,
        is_dirty=is_dirty(),
        lock=lock_digest(),
        machine=json.loads(json.dumps(asdict(this_machine()))),
        figures=_training_figures(folder) if is_training else _read_json(folder / "metrics.json"),
        curve=_curve(folder) if is_training else [],
        forked_from=forked_from,
        wall_s=_seconds(work, outcome.run_key),
    )
    with opened_runs(work) as log:
        log.record(run)


def trained_runs(log: RunLog) -> list[Trained]:
    """Every training, newest first, with the newest evaluation of what it made."""
    newest: dict[str, ModelRun] = {}
    for run, _ in log.all("evaluate"):
        newest.setdefault(run.candidate, run)
    return [Trained(training=run, recorded_at=at, evaluation=newest.get(run.candidate)) for run, at in log.all("train")]


def find_run(runs: list[Trained], name: str) -> Trained:
    """The training whose key begins with `name`. Raises StageError where none or several do."""
    found = [run for run in runs if run.training.run_key.startswith(name)]
    if len(name) < _SHORTEST or len(found) != 1:
        raise StageError(
            f"run {name!r} names {len(found)} trainings; give at least {_SHORTEST} digits of one of "
            "`faceloop runs list`"
        )
    return found[0]


def _training_figures(folder: Path) -> JsonValue:
    said = json.loads((folder / "training.json").read_bytes())
    names = ("pack_id", "start", "release", "samples", "classes", "steps", "first_loss", "last_loss", "torch")
    return {**{name: said[name] for name in names}, "validations": said["validations"]}


def _curve(folder: Path) -> JsonValue:
    """[step, loss] pairs, thinned evenly with the last one kept."""
    lines = (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    points = [[point["step"], point["loss"]] for point in map(json.loads, lines) if "loss" in point]
    apart = -(-len(points) // _MOST_POINTS) or 1
    return [point for place, point in enumerate(points) if place % apart == 0 or place == len(points) - 1]


def _read_json(path: Path) -> JsonValue:
    found: JsonValue = json.loads(path.read_bytes())
    return found


def _seconds(work: Workspace, run_key: str) -> float:
    ledger = Ledger(work.ledger_url())
    try:
        found = ledger.find(run_key)
        return found.wall_s if found is not None else 0.0
    finally:
        ledger.close()

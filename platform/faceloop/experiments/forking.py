"""A training's params with some changed, on the root as it is now."""

import copy
from collections.abc import Sequence
from pathlib import Path

import yaml

from faceloop.experiments.recording import Trained, record_run
from faceloop.params import Tree, read_params
from faceloop.runner import Workspace, open_workspace, run_stage
from facestore.errors import StageError
from facestore.ids import digest_of

_SHORT = 12


def forked_params(work: Workspace, run: Trained, overrides: Sequence[str]) -> Path:
    """Write `ROOT/forks/RUN-CHANGE.yaml`: places of this root, everything else of the run, then the overrides.

    Raises ConfigError for an override that names no key, StageError where the run's params are no mapping.
    """
    recorded = run.training.params
    if not isinstance(recorded, dict):
        raise StageError(f"run {run.training.run_key[:_SHORT]} has no params on record; train it again")
    tree: Tree = copy.deepcopy({**work.tree, **recorded})
    name = f"{run.training.run_key[:_SHORT]}-{digest_of([*sorted(overrides)])[:8]}.yaml"
    return write_params(work.root / "forks" / name, tree, overrides)


def write_params(path: Path, tree: Tree, overrides: Sequence[str]) -> Path:
    """The tree with overrides as a params file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.partial")
    waiting.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), encoding="utf-8")
    changed = read_params(waiting, overrides)
    waiting.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True), encoding="utf-8")
    waiting.replace(path)
    return path


def train_and_evaluate(
    work: Workspace, tree: Tree, *, revision: str | None, forked_from: str | None = None
) -> tuple[str, str]:
    """Run both stages on the root with other params, recorded. Returns their run keys."""
    changed = open_workspace(work.root, tree, threads=work.threads, progress=work.progress)
    keys = []
    for stage in ("train", "evaluate"):
        outcome = run_stage(changed, stage)
        record_run(changed, outcome, revision=revision, forked_from=forked_from)
        keys.append(outcome.run_key)
    return keys[0], keys[1]

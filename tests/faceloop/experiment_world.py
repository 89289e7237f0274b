"""A root with a small release, tables to evaluate by, and the command line over it: trainings of a few steps."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.runner import Workspace

from .evaluation_world import cell_pack, evaluated

QUICK = (
    "train.batch_size=20", "train.schedule.epochs=1", "train.workers=0", "train.device=cpu",
    "train.augmentation=none",
    "evaluate.labelling.asked.most=0",
)  # fmt: skip

SPEC: dict[str, Any] = {
    "name": "rates",
    "metric": "val_tar",
    "direction": "maximize",
    "seed": 7,
    "trials": 2,
    "fixed": ["train.schedule.warm_up_share=0"],
    "space": {
        "train.optimiser.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "train.loss.kind": {"choices": ["arcface", "cosface"]},
    },
}


def experimental(root: Path, *overrides: str) -> Workspace:
    """12 people to train on, 4 in val, 14 in test; `params.yaml` lies in the root. Threads are one: bits must match."""
    torch.set_num_threads(1)
    root.mkdir(exist_ok=True)
    start = cell_pack(root / "start", 4)  # sees well as it is, and only the class centres learn: quick, never collapsed
    work = evaluated(root, f"train.start={start}", *QUICK, *overrides)
    (root / "params.yaml").write_text(yaml.safe_dump(work.tree), encoding="utf-8")
    return work


def said(root: Path, *arguments: str, params: Path | None = None) -> list[dict[str, Any]]:
    """The JSON lines of a command that must succeed."""
    named = ["--root", str(root), "--params", str(params or root / "params.yaml")]
    done = CliRunner().invoke(app, [*arguments, *named], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

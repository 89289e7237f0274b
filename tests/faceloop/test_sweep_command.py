"""A sweep: what is tried, which is best, killed and gone on with, refused. Real trials are in `test_runs_command`."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from faceloop.experiments import sweeping
from faceloop.experiments.sweep_spec import SweepSpec, read_spec
from faceloop.experiments.sweeping import TrialRow, best_of, run_sweep
from faceloop.experiments.trial import OnValidation
from faceloop.runner import Workspace
from facestore.errors import ConfigError, StageError

from .experiment_world import SPEC, experimental


def _spec(folder: Path, **changed: object) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**SPEC, **changed}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return experimental(tmp_path_factory.mktemp("sweep"))


def test_another_sweep_under_the_same_name_is_refused(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(monkeypatch)
    run_sweep(work, read_spec(_spec(work.root, name="twice")))
    with pytest.raises(StageError, match="name of its own"):
        run_sweep(work, read_spec(_spec(work.root, name="twice", seed=8)))


def _rate(overrides: tuple[str, ...]) -> float:
    return float(next(one for one in overrides if "learning_rate" in one).partition("=")[2])


def _answer(monkeypatch: pytest.MonkeyPatch, *, killed_at: int | None = None) -> None:
    """Trials that need no training: the rate is the answer. `killed_at`: the call that a kill ends."""
    calls = iter(range(1000))

    def run_trial(_: Workspace, __: SweepSpec, overrides: tuple[str, ...], *___: object) -> float:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        return _rate(overrides)

    monkeypatch.setattr(sweeping, "run_trial", run_trial)


def _told(rows: tuple[TrialRow, ...]) -> str:
    return json.dumps([[row.number, row.value, row.overrides] for row in rows])


def test_a_sweep_that_was_killed_ends_as_an_unbroken_one(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = (read_spec(_spec(work.root, name=name, trials=9)) for name in ("whole", "broken"))
    _answer(monkeypatch)
    unbroken = run_sweep(work, whole)
    _answer(monkeypatch, killed_at=6)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(work, broken)
    _answer(monkeypatch)
    assert _told(run_sweep(work, broken).rows) == _told(unbroken.rows)
    assert unbroken.best.value == max(row.value for row in unbroken.rows if row.value is not None)


def test_params_that_do_not_go_together_are_a_refused_trial_and_the_sweep_goes_on(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_trial(_: Workspace, __: SweepSpec, overrides: tuple[str, ...], folder: Path, ___: OnValidation) -> float:
        if folder.name.endswith("0001"):
            raise ConfigError("batch_size must be a multiple")
        return _rate(overrides)

    monkeypatch.setattr(sweeping, "run_trial", run_trial)
    rows = run_sweep(work, read_spec(_spec(work.root, name="refusing", trials=3))).rows
    assert [row.refused is None for row in rows] == [True, False, True]
    assert rows[1].value is None


def test_a_trial_that_falls_behind_is_pruned(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_trial(_: Workspace, __: SweepSpec, ___: tuple[str, ...], folder: Path, look: OnValidation) -> float:
        tar = 0.1 if folder.name.endswith("0006") else 0.9
        for step in (1, 2):
            look(step, tar)
        return tar

    monkeypatch.setattr(sweeping, "run_trial", run_trial)
    rows = run_sweep(work, read_spec(_spec(work.root, name="pruning", trials=8))).rows
    assert [row.number for row in rows if row.value is None] == [6]


def test_of_equal_trials_the_first_is_best_and_down_may_be_better() -> None:
    spec = SweepSpec.model_validate({**SPEC, "is_pruned": True})
    values = (None, 0.5, 0.7, 0.7, 0.2)
    rows = [TrialRow(number=n, value=value, overrides=(), refused=None) for n, value in enumerate(values)]
    best = best_of(rows, spec)
    lowest = best_of(rows, spec.model_copy(update={"direction": "minimize"}))
    assert best is not None and lowest is not None
    assert (best.number, lowest.number) == (2, 4)
    assert best_of(rows[:1], spec) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"metric": "release.current.eer"}, "metric must be"),
        ({"space": {"evaluate.seed": {"choices": [1, 2]}}}, "not of the section train"),
        ({"fixed": ["train.loss.kind=arcface"]}, "named twice"),
        ({"space": {"train.seed": {"low": 3, "high": 3}}}, "low must be below high"),
        ({"pruner": "none"}, "unknown keys"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(tmp_path: Path, changed: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_spec(_spec(tmp_path, **changed))


def test_a_figure_of_evaluate_is_measured_on_the_val_split_alone(work: Workspace, tmp_path: Path) -> None:
    from faceloop.experiments.trial import trial_tree

    tree = trial_tree(work, ["train.loss.margin=0.3"], tmp_path)
    evaluate, train, paths = tree["evaluate"], tree["train"], tree["paths"]
    assert isinstance(evaluate, dict) and isinstance(train, dict) and isinstance(paths, dict)
    assert (evaluate["splits"], evaluate["gold"]) == (["val"], [])
    assert paths["release"] == str(work.path("release").resolve())
    assert paths["candidate"] == "candidate"
    shutil.rmtree(tmp_path)

"""Trainings on record: the best of a real sweep, what it ran with, forked and compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceloop.experiments.comparing import compare
from faceloop.experiments.recording import find_run, opened_runs, trained_runs
from faceloop.experiments.sweeping import trial_folder
from faceloop.runner import Workspace
from facestore.errors import ConfigError, StageError
from facestore.publish import read_manifest

from .experiment_world import SPEC, experimental, said


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict[str, Any]]:
    """A sweep of two trials whose best is published and evaluated; what the command said, and what was published."""
    work = experimental(tmp_path_factory.mktemp("runs"))
    (work.root / "sweep.yaml").write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    (told,) = said(work.root, "sweep", str(work.root / "sweep.yaml"), "--threads", "1")
    published, evaluation = (read_manifest(work.path(name)) for name in ("candidate", "evaluation"))
    assert published is not None
    assert evaluation is not None
    return work, told | {"published": published.digest, "evaluated": evaluation.inputs["candidate"]}


@pytest.fixture(scope="module")
def work(swept: tuple[Workspace, dict[str, Any]]) -> Workspace:
    """That training, and a fork of it with another margin."""
    work, told = swept
    said(work.root, "runs", "fork", told["run_key"][:12], "--run", "--threads", "1", "-S", "train.loss.margin=0.3")
    return work


def _keys(work: Workspace) -> tuple[str, str]:
    """(the first training, its fork)."""
    fork, first = said(work.root, "runs", "list")
    return first["run"], fork["run"]


def test_the_best_trial_is_published_to_the_byte_and_evaluated(swept: tuple[Workspace, dict[str, Any]]) -> None:
    work, told = swept
    assert (told["trials"], told["finished"]) == (2, 2)
    trial = read_manifest(trial_folder(work.root / "sweeps" / "rates", told["best"]["trial"]) / "candidate")
    assert trial is not None
    assert told["published"] == told["evaluated"] == trial.digest


def test_trials_are_in_a_table_and_a_picture_and_only_the_best_keeps_its_folder(
    swept: tuple[Workspace, dict[str, Any]],
) -> None:
    work, told = swept
    lines = Path(told["table"]).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "trial,val_tar,train.loss.kind,train.optimiser.learning_rate,state"
    assert [line.split(",")[-1] for line in lines[1:]].count("best") == 1
    assert Path(told["picture"]).read_bytes().startswith(b"\x89PNG")
    kept = [path.name for path in (work.root / "sweeps" / "rates").glob("trial-*")]
    assert kept == [f"trial-{told['best']['trial']:04d}"]


def test_a_run_is_recorded_with_code_params_lock_release_machine_and_figures(work: Workspace) -> None:
    (told,) = said(work.root, "runs", "show", _keys(work)[0])
    training, evaluation = told["training"], told["evaluation"]
    assert len(training["lock"]) == 64
    assert training["params"]["train"]["schedule"]["warm_up_share"] == 0
    assert "paths" not in training["params"]
    assert training["machine"].keys() == {"cores", "memory_gb", "accelerators"}
    assert training["figures"]["start"].startswith("cells-4")
    assert training["wall_s"] > 0
    assert training["curve"][-1][0] == training["figures"]["steps"]
    assert (evaluation["candidate"], evaluation["release"]) == (training["candidate"], training["release"])
    assert "release.candidate.tar_at_far_0.1" in evaluation["figures"]
    assert str(work.root) not in json.dumps([training["figures"], evaluation["figures"], training["machine"]])


def test_the_command_line_puts_on_record_what_is_published_once(work: Workspace) -> None:
    fork = _keys(work)[1]
    path = next((work.root / "forks").glob("*.yaml"))
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree["paths"]["ledger"] = "another.sqlite3"  # which knows nothing, as after a kill
    path = work.root / "another.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    for _ in range(2):
        assert said(work.root, "run", "train", "--threads", "1", params=path)[0]["state"] == "unchanged"
        assert [line["run"] for line in said(work.root, "runs", "list", params=path)] == [fork]


def test_a_fork_is_recorded_with_what_it_was_forked_from_and_differs_in_what_was_set(work: Workspace) -> None:
    first, fork = _keys(work)
    with opened_runs(work) as log:
        found = find_run(trained_runs(log), fork)
    assert found.training.forked_from is not None
    assert found.training.forked_from.startswith(first)
    assert found.evaluation is not None
    (told,) = said(work.root, "runs", "compare", first, fork)
    assert told["params"] == [{"key": "train.loss.margin", "first": 0.5, "second": 0.3}]


def test_a_comparison_holds_figures_with_ranges_and_a_page_that_needs_nothing_else(work: Workspace) -> None:
    (told,) = said(work.root, "runs", "compare", *_keys(work))
    figures = {row["name"]: row for row in told["figures"]}
    row = figures["release.candidate.tar_at_far_0.1"]
    assert told["is_same_gold"]
    assert row["first_interval"][0] <= row["first"] <= row["first_interval"][1]
    apart = row["first_interval"][1] < row["second_interval"][0] or row["second_interval"][1] < row["first_interval"][0]
    assert row["has_parted"] is apart
    page = Path(told["page"]).read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in page
    assert "train.loss.margin" in page
    assert (Path(told["page"]).parent / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_runs_of_two_exams_are_called_so(work: Workspace) -> None:
    first, fork = _keys(work)
    with opened_runs(work) as log:
        one, other = (find_run(trained_runs(log), name) for name in (first, fork))
    assert one.evaluation is not None
    elsewhere = replace(one, evaluation=replace(one.evaluation, release="another"))
    assert compare(one, other).is_same_gold
    assert not compare(elsewhere, other).is_same_gold
    assert not compare(replace(one, evaluation=None), other).figures


def test_a_fork_without_run_is_a_params_file_of_this_root(work: Workspace) -> None:
    first, _ = _keys(work)
    (told,) = said(work.root, "runs", "fork", first, "-S", "train.loss.scale=32")
    tree = yaml.safe_load(Path(told["params"]).read_text(encoding="utf-8"))
    assert (tree["train"]["loss"]["scale"], tree["train"]["loss"]["margin"]) == (32, 0.5)
    assert tree["paths"] == work.tree["paths"]
    assert len(said(work.root, "runs", "list")) == 2


def test_a_fork_by_a_key_that_is_not_there_is_refused(work: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"train\.speed"):
        said(work.root, "runs", "fork", _keys(work)[0], "-S", "train.speed=1")


def test_a_name_that_is_short_or_unknown_is_refused(work: Workspace) -> None:
    for name in (_keys(work)[0][:3], "f" * 12):
        with pytest.raises(StageError, match="runs list"):
            said(work.root, "runs", "show", name)

"""`faceloop jobs` and `faceloop releases` as a scheduler calls them, with the workers that they really start."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.jobs.submitting import job_request, opened_jobs
from faceloop.jobs.working import work_on
from faceloop.runner import Workspace
from facestore.errors import ConfigError, DataError, StageError

from .release_world import released

LOW = ["-S", "loop.gate.identities=1", "-S", "loop.gate.samples=1"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for variable in ("FACELOOP_RUN_ID", "FACELOOP_LAUNCHER", "FACELOOP_REVISION"):
        monkeypatch.delenv(variable, raising=False)
    return released(tmp_path / "root")


def _called(work: Workspace, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the last line of stdout."""
    done = CliRunner().invoke(app, [*arguments, "--root", str(work.root)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def test_a_release_goes_all_the_way_and_back(work: Workspace) -> None:
    code, due = _called(work, "releases", "due", "--run", "dag/1", "--set", "small_shards", "-S", "loop.due.faces=5")
    assert (code, due["due"], due["overrides"]) == (0, True, ["pack.samples_per_shard=512"])
    assert _called(work, "releases", "due", "--run", "dag/2")[0] == 99
    assert _called(work, "releases", "evaluate")[1]["samples"] == 24
    with pytest.raises(StageError, match="samples 24, floor 99"):
        _called(work, "releases", "gate", "-S", "loop.gate.samples=99")
    assert _called(work, "releases", "gate", *LOW)[1]["passed"] is True
    code, promoted = _called(work, "releases", "promote", "--by", "Ann Example", *LOW)
    assert code == 0
    assert "Ann" not in json.dumps(promoted)
    _, listed = _called(work, "releases", "list")
    assert (listed["current"], listed["promotions"][0]["by"]) == (promoted["release"], "Ann Example")
    _, back = _called(work, "releases", "rollback", "--by", "bob", "--why", "wrong", "--release", promoted["release"])
    assert back == {"rolled_back": promoted["release"], "current": None}


def test_a_damaged_shard_passes_no_gate_and_is_not_promoted(work: Workspace) -> None:
    shard = work.path("release") / "train" / "shard-00000.lmdb"
    shard.write_bytes(shard.read_bytes().replace(b"person-a-2", b"person-b-2"))
    for command in (["releases", "gate"], ["releases", "promote", "--by", "ann"]):
        with pytest.raises(DataError, match=r"train/shard-00000\.lmdb: sha256"):
            _called(work, *command, *LOW)
    assert _called(work, "releases", "list")[1]["current"] is None


def test_a_worker_of_other_code_than_was_asked_for_does_not_begin(work: Workspace) -> None:
    with opened_jobs(work) as jobs:
        job = jobs.submit(job_request(work, "train", revision="b" * 40, parameter_set="default"), "local")
        done = work_on(work, job.job_id, None, revision="a" * 40, clock=time.monotonic)
    assert done is not None
    assert done.state == "failed"
    assert "b" * 40 in str(done.message)
    assert "a" * 40 in str(done.message)


def test_what_is_wrong_is_said_before_a_job_is_written(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong, told in (
        (["--set", "tiny"], "parameter_sets"),
        (["--revision", "main"], "hex digits"),
        (["--revision", "f" * 40], "f" * 40),
        (["--launcher", "kubernetes"], "FACELOOP_KUBERNETES_IMAGE"),
    ):
        with pytest.raises(ConfigError, match=told):
            _called(work, "jobs", "submit", "train", *wrong)
    monkeypatch.setenv("FACELOOP_KUBERNETES_GPUS", "some")
    with pytest.raises(ConfigError, match="whole number"):
        _called(work, "jobs", "submit", "train", "--launcher", "kubernetes")
    with pytest.raises(StageError, match="jobs list"):
        _called(work, "jobs", "show", "nobody")
    with pytest.raises(ConfigError, match="--all"):
        _called(work, "jobs", "cancel")
    assert _called(work, "jobs", "list")[1] == {"jobs": []}
    assert _called(work, "jobs", "cancel", "--all")[1] == {"cancelled": []}


def test_without_a_release_there_is_nothing_to_work_on(work: Workspace) -> None:
    (work.path("release") / "_manifest.json").unlink()
    for command in (["jobs", "submit", "train"], ["releases", "evaluate"], ["releases", "gate"]):
        with pytest.raises(StageError, match="run pack"):
            _called(work, *command)

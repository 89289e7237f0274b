"""What jobs run: a stage over the release that the job is for; its result, or one line why not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faceloop.jobs.programs import PROGRAMS, RESULT, Order, ended_as_program, read_result
from faceloop.jobs.revision import checked_revision, running_revision
from faceloop.jobs.stage_program import run_for_release
from faceloop.jobs.submitting import job_request
from faceloop.runner import Workspace
from facestore.errors import ConfigError, DataError, InputsNotReady, ShardCorrupt, StageError

from .release_world import released


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return released(tmp_path / "root")


def test_another_release_than_the_jobs_is_refused_before_anything_is_made(work: Workspace) -> None:
    with pytest.raises(StageError, match="submit it again"):
        run_for_release(work, "train", "0" * 64)
    assert not work.path("candidate").exists()


def test_a_job_is_of_the_release_and_of_all_else_that_its_stage_depends_on(work: Workspace) -> None:
    def job_id(place: Workspace) -> str:
        return job_request(place, "train", revision=None, parameter_set="default").job_id

    longer = json.loads(json.dumps(work.tree))
    longer["train"]["schedule"]["epochs"] += 1
    other = json.loads(json.dumps(work.tree))
    other["cluster"]["neighbours"] += 1  # that training does not depend on
    first = job_id(work)
    assert job_id(replace(work, tree=longer)) != first
    assert job_id(replace(work, tree=other)) == first
    released(work.root, faces=7)
    assert job_id(work) != first


def test_what_an_evaluation_needs_is_there_before_a_job_is_written(work: Workspace) -> None:
    with pytest.raises(InputsNotReady, match="candidate"):
        job_request(work, "evaluate", revision=None, parameter_set="default")


def test_a_program_leaves_its_result_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_as_program(lambda: {"samples": 1}, tmp_path / "good") == 0
    assert read_result(tmp_path / "good") == {"samples": 1}

    def corrupt() -> None:
        raise ShardCorrupt("train: record 3; run pack again")

    assert ended_as_program(corrupt, tmp_path / "bad") == 2
    assert capsys.readouterr().err == "train: record 3; run pack again\n"
    with pytest.raises(DataError, match="left no readable"):
        read_result(tmp_path / "bad")
    (tmp_path / "good" / RESULT).write_text(json.dumps("x" * 20_000))
    with pytest.raises(DataError, match="at most"):
        read_result(tmp_path / "good")


def test_every_kind_of_job_runs_the_stage_of_its_name(tmp_path: Path) -> None:
    for kind, program in PROGRAMS.items():
        order = Order(
            stage=kind, root=tmp_path, params=tmp_path / "params.json", release_digest="d", out=tmp_path / "out"
        )
        assert program.argv(order)[2:4] == ["faceloop.jobs.stage_program", kind]


def test_a_job_is_of_the_revision_that_runs() -> None:
    running = "0123456789abcdef" * 2 + "01234567"
    assert checked_revision(None, running) == running
    assert checked_revision("01234567", running) == running
    assert checked_revision("fedcba98", None) == "fedcba98"
    assert checked_revision(None, None) is None
    with pytest.raises(ConfigError, match=f"fedcba98.*{running}"):
        checked_revision("fedcba98", running)
    with pytest.raises(ConfigError, match="hex digits"):
        checked_revision("main", running)
    assert running_revision({"FACELOOP_REVISION": "abc"}) == "abc"

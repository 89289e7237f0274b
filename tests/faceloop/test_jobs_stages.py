"""Real stages as jobs, with the workers that a launcher starts: killed and resumed, doubled, replaced, cancelled."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faceloop.jobs.launchers import job_folder
from faceloop.jobs.local_launcher import LocalLauncher
from faceloop.jobs.submitting import job_request, opened_jobs, submit
from faceloop.runner import Workspace, run_stage
from facestore.jobs import ENDED, Job
from facestore.publish import read_manifest

from .training_release import released_to_train

pytestmark = pytest.mark.integration
TINY = (
    "train.start=scratch", "train.batch_size=4", "train.schedule.epochs=1", "train.workers=0", "train.device=cpu",
    "train.freeze_batchnorm=false", "train.architecture.dimension=16", "loop.lease_s=5.0",
)  # fmt: skip
PATIENCE_S = 300.0


def _submitted(work: Workspace) -> Job:
    return submit(work, job_request(work, "train", revision=None, parameter_set="default"), LocalLauncher())


def _until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def _ended(work: Workspace, job: Job) -> Job:
    def look() -> Job | None:
        with opened_jobs(work) as jobs:
            found = jobs.find(job.job_id)
        return found if found.state in ENDED else None

    return _until(look)  # type: ignore[no-any-return]


def _published(work: Workspace) -> str:
    manifest = read_manifest(work.path("candidate"))
    assert manifest is not None
    return manifest.digest


def test_a_killed_training_job_goes_on_from_its_checkpoint_and_is_done_anew_where_its_candidate_is_gone(
    tmp_path: Path,
) -> None:
    work = released_to_train(tmp_path / "root", *TINY, "train.schedule.epochs=4", "train.checkpoint_every=1")
    job = _submitted(work)
    training = tmp_path / "root" / "training"
    _until(lambda: list(training.glob("*/**/step-*")))
    with opened_jobs(work) as jobs:
        handle = jobs.find(job.job_id).handle
    assert handle is not None
    os.kill(int(handle.split(":")[-2]), signal.SIGKILL)
    assert _ended(work, job).state == "lost"
    assert not work.path("candidate").exists()

    again = _submitted(work)
    assert (again.job_id, again.attempt) == (job.job_id, 2)
    done = _ended(work, again)
    assert done.state == "succeeded", done.message
    assert isinstance(done.result, dict)
    assert (done.result["stage"], done.result["digest"]) == ("train", _published(work))
    assert done.result["steps"] == 12
    log = (job_folder(work.root, job.job_id) / "attempt-2.log").read_text()
    assert "goes on after step" in log
    assert _submitted(work) == done, "asked again, it is done"
    assert run_stage(work, "train").was_published_before, "a job is no other run than that of the command"

    shutil.rmtree(work.path("candidate"))
    third = _ended(work, _submitted(work))
    assert (third.attempt, third.state) == (3, "succeeded")
    assert third.result == done.result
    assert _published(work) == done.result["digest"]


def test_cancelling_a_training_on_two_ranks_leaves_no_process_behind(tmp_path: Path) -> None:
    work = released_to_train(
        tmp_path / "root", *TINY, "train.schedule.epochs=2000", "train.ranks=2", "train.checkpoint_every=1"
    )
    job = _submitted(work)
    training = tmp_path / "root" / "training"
    _until(lambda: list(training.glob("*/**/step-*")))
    ranks = _until(lambda: _processes("faceloop.training.one_rank", training))
    with opened_jobs(work) as jobs:
        jobs.ask_cancel(job.job_id)
    assert _ended(work, job).state == "cancelled"
    assert ranks
    _until(lambda: not _processes("faceloop.", work.root))
    assert not work.path("candidate").exists()


def _processes(module: str, folder: Path) -> list[int]:
    """Processes that were called with a module of ours and this root."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            words = (place / "cmdline").read_bytes().decode() if place.name.isdecimal() else ""
        except OSError:
            continue
        if module in words and str(folder) in words:
            found.append(int(place.name))
    return found

"""Jobs with real processes: doubled, killed, stopped, cancelled. One job, one worker, one result."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faceloop.jobs.launchers import Launch, LauncherName, WorkerCall, job_folder
from faceloop.jobs.local_launcher import LocalLauncher
from faceloop.jobs.submitting import job_request, opened_jobs, submit
from faceloop.jobs.working import work_on
from faceloop.runner import Workspace
from facestore.errors import LeaseHeld
from facestore.jobs import Job
from facestore.leases import Leases

from .release_world import released

pytestmark = pytest.mark.integration

WORKER = (sys.executable, str(Path(__file__).with_name("job_worker.py")))
LOCAL = LocalLauncher(command=WORKER)
PATIENCE_S = 150.0


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Workspace]:
    work = released(tmp_path / "root", "loop.lease_s=2.0")
    (work.root / "params.json").write_text(json.dumps(work.tree))
    yield work
    (work.root / "go").touch()
    for pid in [_worker(job) for job in _jobs(work) if job.handle]:
        if not _is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def _submitted(work: Workspace) -> Job:
    return submit(work, job_request(work, "train", revision=None, parameter_set="default"), LOCAL)


def _jobs(work: Workspace) -> list[Job]:
    with opened_jobs(work) as jobs:
        return jobs.all()


def _only(work: Workspace) -> Job:
    (job,) = _jobs(work)
    return job


def _started(work: Workspace) -> list[tuple[str, int]]:
    """Attempt and pid of the process beneath the program, for each program that was started."""
    path = work.root / "started"
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _until(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def _worker(job: Job) -> int:
    assert job.handle is not None
    return int(job.handle.split(":")[-2])


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _ends(work: Workspace, state: str) -> Job:
    _until(lambda: [job for job in _jobs(work) if job.state == state])
    return _only(work)


def test_two_who_submit_at_once_get_one_job_and_one_worker(work: Workspace) -> None:
    both = [subprocess.Popen([*WORKER, "submit", str(work.root)]) for _ in range(2)]
    assert [process.wait(PATIENCE_S) for process in both] == [0, 0]
    _until(lambda: _started(work))
    assert _submitted(work).state == "running"
    with pytest.raises(LeaseHeld):
        work_on(work, _only(work).job_id, None, revision=None, clock=time.monotonic)
    (work.root / "go").touch()
    done = _ends(work, "succeeded")
    assert (done.attempt, done.result) == (1, {"program": "waits", "by": "attempt-1"})
    assert json.loads((job_folder(work.root, done.job_id) / "result.json").read_text()) == done.result
    assert len(_started(work)) == 1
    assert _submitted(work) == done


def test_a_killed_worker_is_lost_at_once_and_takes_its_program_along(work: Workspace) -> None:
    _submitted(work)
    _until(lambda: _started(work))
    running = _only(work)
    (work.root / "program.pid").write_text(subprocess.check_output(["pgrep", "-P", str(_worker(running))], text=True))
    program = int((work.root / "program.pid").read_text().split()[0])
    os.kill(_worker(running), signal.SIGKILL)
    lost = _ends(work, "lost")
    assert lost.attempt == 1
    _until(lambda: _is_gone(program))
    assert _submitted(work).attempt == 2
    (work.root / "go").touch()
    done = _ends(work, "succeeded")
    assert (done.attempt, done.result) == (2, {"program": "waits", "by": "attempt-2"})
    os.kill(_started(work)[0][1], signal.SIGKILL)  # the made-up program's own child: torchrun ends its own


class _Dies(LocalLauncher):
    """Its process ends where the row is written and nothing was started yet."""

    @property
    def name(self) -> LauncherName:
        return "local"

    def start(self, call: WorkerCall) -> Launch:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_submission_killed_before_it_started_a_worker_is_made_up_for(work: Workspace) -> None:
    request = job_request(work, "train", revision=None, parameter_set="default")
    child = os.fork()
    if child == 0:
        submit(work, request, _Dies())
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (_only(work).state, _only(work).handle) == ("submitted", None)
    (work.root / "go").touch()
    assert _submitted(work).attempt == 1
    assert _ends(work, "succeeded").attempt == 1
    assert len(_started(work)) == 1


def test_a_cancelled_job_ends_with_all_that_it_started_within_seconds(work: Workspace) -> None:
    _submitted(work)
    ((_, child),) = _until(lambda: _started(work))
    with opened_jobs(work) as jobs:
        assert jobs.ask_cancel(_only(work).job_id).is_cancel_asked
    asked = time.monotonic()
    assert _ends(work, "cancelled").message == "cancelled by request"
    assert time.monotonic() - asked < 15
    _until(lambda: _is_gone(child))
    assert not (job_folder(work.root, _only(work).job_id) / "result.json").exists()
    (work.root / "go").touch()
    assert _submitted(work).attempt == 2
    assert _ends(work, "succeeded").is_cancel_asked is False


def test_a_stopped_worker_that_wakes_up_late_publishes_nothing(work: Workspace) -> None:
    _submitted(work)
    _until(lambda: _started(work))
    stopped = _worker(_only(work))
    os.kill(stopped, signal.SIGSTOP)
    _ends(work, "lost")  # its lease runs out by the clock: the process is there
    (work.root / "go").touch()
    second = _submitted(work)
    done = _ends(work, "succeeded")
    assert (second.attempt, done.result) == (2, {"program": "waits", "by": "attempt-2"})
    os.kill(stopped, signal.SIGCONT)
    _until(lambda: _is_gone(stopped))
    folder = job_folder(work.root, done.job_id)
    assert "LeaseLost" in (folder / "attempt-1.log").read_text()
    assert (folder / "attempt-1" / "result.json").exists()  # it was ready to be published
    assert json.loads((folder / "result.json").read_text()) == {"program": "waits", "by": "attempt-2"}
    assert _only(work) == done


def test_a_working_job_keeps_its_lease_and_says_when_it_was_told_to_end(work: Workspace) -> None:
    job = _submitted(work)
    _until(lambda: _started(work))
    time.sleep(3.0)  # longer than the lease
    assert _only(work).state == "running"
    leases = Leases(work.ledger_url(), "another machine:0:0:7:7")
    with pytest.raises(LeaseHeld):
        leases.take(f"job/{job.job_id}", 60)
    leases.close()
    os.kill(_worker(_only(work)), signal.SIGTERM)
    assert "SIGTERM" in str(_ends(work, "failed").message)

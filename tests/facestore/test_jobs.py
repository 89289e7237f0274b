"""Jobs as rows: one for a request, attempts counted, ends written once, lost ones seen."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestore.errors import LeaseHeld, LeaseLost, StageError
from facestore.jobs import Job, JobEnd, JobKind, JobRequest, Jobs, lease_name
from facestore.leases import Lease, Leases, this_process

REQUEST = JobRequest(
    kind="train", inputs_digest="a" * 64, params={"program": "p"}, revision=None, parameter_set="default"
)
AWAY = "another machine:0:0:7:7"  # a holder of whom nobody here can tell whether it lives
DONE = JobEnd(state="succeeded", result={"samples": 3})


def _unpublished() -> None:
    pytest.fail("nothing of a lost attempt may be published")


def _begun(jobs: Jobs, leases: Leases, job: Job, seconds: float = 60) -> tuple[Lease, Job]:
    lease = leases.take(lease_name(job.job_id), seconds)
    begun = jobs.begin(lease, job.job_id, job.attempt)
    assert begun is not None
    return lease, begun


def test_the_same_request_is_the_same_job(url: str) -> None:
    jobs = Jobs(url)
    first = jobs.submit(REQUEST, "local")
    assert jobs.submit(REQUEST, "kubernetes") == first
    assert (first.state, first.attempt, first.launcher, first.handle) == ("submitted", 1, "local", None)
    jobs.submit(replace(REQUEST, kind="export"), "local")
    assert len({job.job_id for job in jobs.all() if job.inputs_digest == "a" * 64}) == 2
    with pytest.raises(StageError, match="jobs list"):
        jobs.find("nobody")
    jobs.close()


@given(
    kind=st.sampled_from(["train", "export"]),
    inputs_digest=st.sampled_from(["a" * 64, "b"]),
    version=st.integers(1, 2),
    revision=st.sampled_from([None, "a", "default"]),
    parameter_set=st.sampled_from(["default", "a"]),
)
def test_whatever_a_result_depends_on_makes_another_job(
    kind: JobKind, inputs_digest: str, version: int, revision: str | None, parameter_set: str
) -> None:
    request = JobRequest(
        kind=kind,
        inputs_digest=inputs_digest,
        params={"program": "p"} if version == 1 else {"program": "p", "version": version},
        revision=revision,
        parameter_set=parameter_set,
    )
    assert (request.job_id == REQUEST.job_id) == (request == REQUEST)
    assert len(request.job_id) == 32


def test_a_job_runs_under_its_lease_and_ends_once(url: str) -> None:
    jobs, leases = Jobs(url), Leases(url)
    request = replace(REQUEST, inputs_digest="c" * 64)
    lease, job = _begun(jobs, leases, jobs.submit(request, "local"))
    assert job.state == "running"
    assert jobs.submit(request, "local") == job  # attached
    second = Leases(url, AWAY)
    with pytest.raises(LeaseHeld):
        second.take(lease_name(job.job_id), 60)
    second.close()
    published: list[str] = []
    jobs.finish(lease, job, DONE, lambda: published.append("once"))
    with pytest.raises(LeaseLost, match="not taken"):
        jobs.finish(lease, job, JobEnd(state="failed", message="late"), _unpublished)
    leases.give_back(lease)
    ended = jobs.submit(request, "local")
    assert (ended.state, ended.result, ended.attempt, published) == ("succeeded", {"samples": 3}, 1, ["once"])
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.created_at <= ended.started_at <= ended.ended_at
    lease = leases.take(lease_name(job.job_id), 60)
    assert jobs.begin(lease, job.job_id, None) is None  # nothing left to do
    leases.give_back(lease)
    leases.close()
    jobs.close()


def test_a_result_is_not_written_when_publishing_it_fails(url: str) -> None:
    jobs, leases = Jobs(url), Leases(url)
    lease, job = _begun(jobs, leases, jobs.submit(replace(REQUEST, inputs_digest="d" * 64), "local"))

    def no_room() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        jobs.finish(lease, job, DONE, no_room)
    assert jobs.find(job.job_id).state == "running"
    leases.give_back(lease)
    assert jobs.find(job.job_id).state == "lost"
    leases.close()
    jobs.close()


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_what_came_to_nothing_may_be_asked_for_again(url: str, state: str) -> None:
    jobs, leases = Jobs(url), Leases(url)
    request = replace(REQUEST, inputs_digest=state)
    lease, job = _begun(jobs, leases, jobs.submit(request, "local"))
    jobs.launched(job, "local", AWAY, "log")
    jobs.finish(lease, job, JobEnd(state=state, message="why"), lambda: None)  # type: ignore[arg-type]  # a literal
    leases.give_back(lease)
    assert jobs.find(job.job_id).message == "why"
    again = jobs.submit(request, "kubernetes")
    assert (again.job_id, again.state, again.attempt) == (job.job_id, "submitted", 2)
    assert (again.handle, again.log, again.message, again.started_at, again.launcher) == (
        None, None, None, None, "kubernetes",
    )  # fmt: skip
    lease = leases.take(lease_name(job.job_id), 60)
    assert jobs.begin(lease, job.job_id, 1) is None  # a worker of the first attempt that comes late
    leases.give_back(lease)
    leases.close()
    jobs.close()


def test_a_running_job_whose_lease_ran_out_is_lost_and_its_late_result_refused(url: str) -> None:
    jobs, zombie = Jobs(url), Leases(url, AWAY)
    request = replace(REQUEST, inputs_digest="e" * 64)
    late_jobs = Jobs(url, AWAY)
    lease, job = _begun(late_jobs, zombie, jobs.submit(request, "local"), seconds=0.0)
    assert jobs.find(job.job_id).state == "lost"
    assert jobs.wish(job) == "go_on"  # it may yet come back
    again = jobs.submit(request, "local")
    assert (again.state, again.attempt) == ("submitted", 2)
    assert jobs.wish(job) == "superseded"
    with pytest.raises(LeaseLost):
        zombie.renew(lease, 60)
    with pytest.raises(LeaseLost):
        late_jobs.finish(lease, job, DONE, _unpublished)
    assert jobs.find(job.job_id) == again
    for each in (jobs, late_jobs, zombie):
        each.close()


def test_a_worker_that_ended_before_it_began_is_lost_at_once(url: str) -> None:
    jobs = Jobs(url)
    job = jobs.submit(replace(REQUEST, inputs_digest="f" * 64), "local")
    jobs.launched(job, "local", AWAY, None)
    assert jobs.find(job.job_id).state == "submitted"
    machine = this_process().rsplit(":", 2)[0]
    jobs.launched(job, "local", f"{machine}:4194305:1", None)  # above the kernel's highest pid
    assert jobs.find(job.job_id).state == "lost"
    assert jobs.submit(replace(REQUEST, inputs_digest="f" * 64), "local").attempt == 2
    jobs.close()


def test_what_nobody_works_on_is_cancelled_at_once(url: str) -> None:
    jobs, leases = Jobs(url), Leases(url, AWAY)
    waiting = jobs.submit(replace(REQUEST, inputs_digest="g"), "local")
    assert jobs.ask_cancel(waiting.job_id).state == "cancelled"
    lost = jobs.submit(replace(REQUEST, inputs_digest="h"), "local")
    lease, begun = _begun(jobs, leases, lost, seconds=0.0)
    assert jobs.ask_cancel(lost.job_id).state == "cancelled"
    with pytest.raises(LeaseLost):
        leases.renew(lease, 60)
    with pytest.raises(LeaseLost):
        jobs.finish(lease, begun, DONE, _unpublished)
    jobs.close()
    leases.close()


def test_who_works_on_a_job_hears_that_it_is_to_be_cancelled(url: str) -> None:
    jobs, leases = Jobs(url), Leases(url)
    lease, job = _begun(jobs, leases, jobs.submit(replace(REQUEST, inputs_digest="i"), "local"))
    assert jobs.wish(job) == "go_on"
    asked = jobs.ask_cancel(job.job_id)
    assert (asked.state, asked.is_cancel_asked) == ("running", True)
    assert jobs.wish(job) == "cancel"
    jobs.finish(lease, job, DONE, lambda: None)  # it was done before it heard: that is what it is
    assert jobs.ask_cancel(job.job_id).state == "succeeded"
    leases.give_back(lease)
    leases.close()
    jobs.close()


def test_a_lost_worker_does_not_take_the_job_up_where_it_was(url: str) -> None:
    jobs, leases = Jobs(url), Leases(url)
    lease, job = _begun(jobs, leases, jobs.submit(replace(REQUEST, inputs_digest="j"), "local"))
    leases.give_back(lease)
    second = leases.take(lease_name(job.job_id), 60)
    with pytest.raises(StageError, match="submit it again"):
        jobs.begin(second, job.job_id, None)
    leases.give_back(second)
    leases.close()
    jobs.close()


def test_a_reader_of_jobs_takes_no_turn_from_writers(tmp_path: Path) -> None:
    jobs = Jobs(f"sqlite:///{tmp_path / 'l.sqlite3'}")
    job = jobs.submit(REQUEST, "local")
    with sqlite3.connect(tmp_path / "l.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert jobs.find(job.job_id) == job
        other.execute("ROLLBACK")
    other.close()
    jobs.close()

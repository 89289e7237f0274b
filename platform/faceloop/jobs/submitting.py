"""submit: a stage over a release to a job, and a worker for it. The row is written before anything is started."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceloop.batches import run_key_of
from faceloop.consent_gate import ConsentParams, basis_for, key_part, refuse_withheld
from faceloop.jobs.launchers import Launcher, WorkerCall, job_folder
from faceloop.jobs.programs import PROGRAMS
from faceloop.jobs.stage_program import published_by
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.runner import Workspace, stage_params
from faceloop.stage import load_stage
from faceloop.stage_inputs import input_manifest, refuse_mixed_runs
from facestore.errors import LeaseHeld, StageError
from facestore.ids import JsonValue
from facestore.jobs import Job, JobKind, JobRequest, Jobs
from facestore.leases import Leases
from facestore.publish import is_intact, read_manifest, write_whole

PARAMS = "params.json"  # of a job; JSON is YAML
_POLL_S = 0.1


@contextmanager
def opened_jobs(work: Workspace) -> Iterator[Jobs]:
    """The jobs of a workspace's catalogue."""
    work.root.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(work.ledger_url())
    try:
        yield jobs
    finally:
        jobs.close()


@contextmanager
def opened_leases(work: Workspace) -> Iterator[Leases]:
    """The leases of a workspace's catalogue."""
    leases = Leases(work.ledger_url())
    try:
        yield leases
    finally:
        leases.close()


def job_request(work: Workspace, kind: JobKind, *, revision: str | None, parameter_set: str) -> JobRequest:
    """What is asked for: this stage, on the published release, with the params and other inputs as they are now.

    Raises StageError where there is no whole release, InputsNotReady where another input is missing or of another run,
    ConsentRefused where consents keep samples of it from that use.
    """
    release = work.path("release")
    manifest = read_manifest(release)
    if manifest is None or not is_intact(release, manifest):
        raise StageError("jobs: no whole release is published; run pack")
    program = PROGRAMS[kind]
    return JobRequest(
        kind=kind,
        inputs_digest=manifest.digest,
        params={"program": program.name, "version": program.version, "run_key": _run_key(work, kind)},
        revision=revision,
        parameter_set=parameter_set,
    )


def _run_key(work: Workspace, name: str) -> str:
    """What the run of a stage would be named now. Raises ConsentRefused where what it reads may not be used for it."""
    stage = load_stage(name)
    inputs = {artifact: input_manifest(stage, artifact, work.path(artifact)) for artifact in stage.ins}
    refuse_mixed_runs(stage, inputs)
    basis = basis_for(name, work.path, work.ledger_url(), section(work.tree, "consent", ConsentParams))
    refuse_withheld(name, work.path, basis.withheld)
    digests: dict[str, JsonValue] = {artifact: found.digest for artifact, found in inputs.items()}
    digests.update(key_part(name, basis))
    return run_key_of(stage, stage_params(work, name), digests)


def submit(
    work: Workspace, request: JobRequest, launcher: Launcher, *, sleep: Callable[[float], None] = time.sleep
) -> Job:
    """The job of this request, with a worker on its way where it needs one. Asked twice, it is one job, one worker.

    One that succeeded is done again where something else than it made is published by now.
    Whoever is killed between row and worker is made up for by the next who asks. Raises ConfigError when the launcher
    lacks something, LeaseHeld when another submission of it hangs, StoreError when nothing can be started.
    """
    launcher.check()
    seconds = section(work.tree, "loop", LoopParams).lease_s
    with (
        opened_jobs(work) as jobs,
        opened_leases(work) as leases,
        _turn(leases, f"launch/{request.job_id}", seconds, sleep),
    ):
        job = jobs.submit(request, launcher.name)
        if was_given_up(job, launcher) and jobs.find(job.job_id) == job:
            job = jobs.retry(job, launcher.name)
        if _is_undone(work, job):
            job = jobs.retry(job, launcher.name, is_undone=True)
        if job.state == "submitted" and job.handle is None:
            params = job_folder(work.root.resolve(), job.job_id) / PARAMS
            keep_params(work, params)
            call = WorkerCall(root=work.root.resolve(), params=params, job=job)
            launch = launcher.start(call)
            jobs.launched(job, launcher.name, launch.handle, launch.log)
        return jobs.find(request.job_id)


def was_given_up(job: Job, launcher: Launcher) -> bool:
    """Whether what was started for a job ended before it took the job up, as the launcher alone can tell."""
    is_ours = job.state == "submitted" and job.launcher == launcher.name
    return is_ours and job.handle is not None and launcher.has_ended(job.handle)


def _is_undone(work: Workspace, job: Job) -> bool:
    """Whether a job succeeded, and what it published has been replaced or is gone."""
    digest = job.result.get("digest") if job.state == "succeeded" and isinstance(job.result, dict) else None
    made = published_by(work, job.kind) if digest is not None else None
    return digest is not None and (made is None or made.digest != digest)


@contextmanager
def _turn(leases: Leases, name: str, seconds: float, sleep: Callable[[float], None]) -> Iterator[None]:
    """One submission of a job at a time; the next waits as long as a dead one could hold it up."""
    waits = int(seconds / _POLL_S) + 1
    while True:
        try:
            lease = leases.take(name, seconds)
            break
        except LeaseHeld:
            waits -= 1
            if waits <= 0:
                raise
            sleep(_POLL_S)
    try:
        yield
    finally:
        leases.give_back(lease)


def keep_params(work: Workspace, path: Path) -> None:
    """The params as they are now: whoever starts later works by them. Readable by us alone."""
    write_whole(path, json.dumps(work.tree), mode=0o600)

"""Training, evaluation and export as jobs: they outlive whoever asked. Asked twice with the same inputs, one job."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, workspace
from faceloop.jobs.kubernetes_launcher import KubernetesLauncher
from faceloop.jobs.kubernetes_settings import cluster_settings
from faceloop.jobs.launchers import Launcher, LauncherName
from faceloop.jobs.local_launcher import LocalLauncher
from faceloop.jobs.revision import checked_revision, running_revision
from faceloop.jobs.submitting import job_request, opened_jobs, submit, was_given_up
from faceloop.jobs.working import work_on
from faceloop.promotion.parameter_sets import overrides_of
from facestore.errors import ConfigError, StageError
from facestore.jobs import ENDED, Job, JobKind, Jobs

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_NOTHING_TO_DO = 99
_POLL_S = 0.2
JobArgument = Annotated[str, typer.Argument(help="A job id.")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for its end.")]
ValuesOption = Annotated[list[str] | None, typer.Option("-S", "--value", help="SECTION.KEY=VALUE, may be repeated.")]
SetNameOption = Annotated[str, typer.Option("--set", help="A name of loop.parameter_sets.")]
RevisionOption = Annotated[
    str | None, typer.Option("--revision", help="The commit that must run; default: the one that does.")
]


@app.command(name="submit")
def submit_command(
    kind: Annotated[JobKind, typer.Argument(help="The stage: train, evaluate or export.")],
    launcher: Annotated[
        LauncherName, typer.Option("--launcher", envvar="FACELOOP_LAUNCHER", help="Where the worker runs.")
    ] = "local",
    revision: RevisionOption = None,
    set_name: SetNameOption = "default",
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Run a stage over the published release: a new job, the next attempt of one that failed, or the one there is.

    The parameter set's overrides hold, and -S over them.
    """
    chosen = overrides_of(workspace(root, params, values).tree, set_name)
    work = workspace(root, params, [*chosen, *(values or [])])
    wanted = checked_revision(revision, running_revision(os.environ))
    request = job_request(work, kind, revision=wanted, parameter_set=set_name)
    _say(submit(work, request, _launcher(launcher)))


@app.command()
def show(
    job: JobArgument,
    wait_s: WaitOption = 0.0,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """How a job stands: submitted, running, succeeded, failed, cancelled or lost."""
    with opened_jobs(workspace(root, params, values)) as jobs:
        _say(_awaited(partial(_seen, jobs, job), wait_s))


@app.command(name="list")
def list_command(root: RootOption = None, params: ParamsOption = None, values: ValuesOption = None) -> None:
    """Every job, newest first, as one JSON object."""
    with opened_jobs(workspace(root, params, values)) as jobs:
        typer.echo(json.dumps({"jobs": [_told(job) for job in jobs.all()]}, sort_keys=True))


@app.command()
def cancel(
    job: Annotated[str | None, typer.Argument(help="A job id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
    wait_s: WaitOption = 0.0,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Have a job ended. Its worker ends the program within seconds; --wait waits until it has."""
    if (job is None) != every:
        raise ConfigError("jobs cancel: name one job, or say --all")
    with opened_jobs(workspace(root, params, values)) as jobs:
        chosen = [found.job_id for found in jobs.all() if found.state not in ENDED] if job is None else [job]
        asked = [_called_off(jobs, name) for name in chosen]
        ended = [_awaited(partial(jobs.find, found.job_id), wait_s) for found in asked]
    if job is None:
        typer.echo(json.dumps({"cancelled": [found.job_id for found in ended]}))
    else:
        _say(ended[0])


@app.command()
def work(
    job: JobArgument,
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="Only this attempt of it.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Work on a job, as a launcher has it done. Ends at once when another does, or when there is nothing to do."""
    place = workspace(root, params, values)
    done = work_on(place, job, attempt, revision=running_revision(os.environ), clock=time.monotonic)
    if done is None:
        with opened_jobs(place) as jobs:
            _say(jobs.find(job))
        raise typer.Exit(_NOTHING_TO_DO)
    _say(done)
    if done.state != "succeeded":
        raise StageError(f"job {done.job_id} {done.state}: {done.message}")


def _launcher(name: str) -> Launcher:
    """The settings of a cluster come from the environment: they are the machine's, not the loop's."""
    if name == "local":
        return LocalLauncher()
    return KubernetesLauncher(cluster_settings(os.environ))


def _seen(jobs: Jobs, job_id: str) -> Job:
    """A job as it stands; where its worker has not begun, the cluster is asked whether it still will."""
    job = jobs.find(job_id)
    if job.state != "submitted" or job.launcher != "kubernetes" or job.handle is None:
        return job
    launcher = KubernetesLauncher(cluster_settings(os.environ))
    if was_given_up(job, launcher) and jobs.find(job_id) == job:
        why = launcher.why_ended(job.handle) or "the cluster ended its Job before the worker began"
        return replace(job, state="lost", message=why)
    return job


def _called_off(jobs: Jobs, job_id: str) -> Job:
    job = jobs.ask_cancel(job_id)
    if job.state == "cancelled" and job.handle is not None:
        _launcher(job.launcher).stop(job.handle)
    return job


def _awaited(look: Callable[[], Job], wait_s: float) -> Job:
    until = time.monotonic() + wait_s
    while (job := look()).state not in ENDED and time.monotonic() < until:
        time.sleep(_POLL_S)
    return job


def _told(job: Job) -> dict[str, object]:
    """What may be said of a job anywhere: no folder of this machine, no name."""
    program = job.params.get("program") if isinstance(job.params, dict) else None
    times = {name: getattr(job, name) for name in ("created_at", "started_at", "ended_at")}
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "program": program,
        "release": job.inputs_digest,
        "revision": job.revision,
        "parameter_set": job.parameter_set,
        "state": job.state,
        "attempt": job.attempt,
        "launcher": job.launcher,
        "log": job.log,
        "cancel_asked": job.is_cancel_asked,
        "result": job.result,
        "message": job.message,
        **{name: at.isoformat() if at is not None else None for name, at in times.items()},
    }


def _say(job: Job) -> None:
    typer.echo(json.dumps(_told(job), sort_keys=True))

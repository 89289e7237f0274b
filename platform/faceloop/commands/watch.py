"""Watch the data loop: take its figures, check what is published, write what a Dag run did."""

import json
import os
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.progress import RUN_ID
from faceloop.runner import Workspace
from faceloop.watch.checks import Check, check_all, complain, passed_figures
from faceloop.watch.figures import loop_figures
from faceloop.watch.page import write_report
from faceloop.watch.runs import run_report
from facestore.activities import Activities
from facestore.measurements import Measurement, Measurements

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def measure(
    whole: Annotated[bool, typer.Option("--all", help="Print every figure, not only how many.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take the figures of the data loop into the catalogue, under the Dag run of FACELOOP_RUN_ID if there is one."""
    work = workspace(root, params, overrides)
    with closing(_measurements(work)) as log:
        figures = loop_figures(work, log, now=datetime.now(UTC))
        taken = log.record("measure", figures, run_id=os.environ.get(RUN_ID))
    summary: dict[str, object] = {"figures": len(taken.figures), "at": taken.at.isoformat()}
    if whole:
        summary["values"] = {_spelled(one): one.value for one in taken.figures}
    typer.echo(json.dumps(summary))


@app.command()
def check(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Check what is published against `loop.checks`. Exit code 2 names every check that failed, and what to do."""
    work = workspace(root, params, overrides)
    with closing(_measurements(work)) as log:
        checks = check_all(work, log)
        log.record("check", passed_figures(checks), run_id=os.environ.get(RUN_ID))
    states = [one.state for one in checks]
    summary = {state: states.count(state) for state in ("passed", "failed", "not_yet")}
    typer.echo(json.dumps({**summary, "checks": [_as_json(one) for one in checks]}))
    complain(checks)


@app.command()
def report(
    run: Annotated[str | None, typer.Option("--run", envvar=RUN_ID, help="DAG_ID/RUN_ID.")] = None,
    airflow_url: Annotated[
        str | None, typer.Option("--airflow-url", envvar="FACELOOP_AIRFLOW_URL", help="Where Airflow's screens are.")
    ] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Write what a Dag run did as a page below ROOT/runs. `faceloop serve-metrics` serves it under /runs/."""
    if run is None:
        raise typer.BadParameter("name a run as DAG_ID/RUN_ID with --run, or set FACELOOP_RUN_ID")
    work = workspace(root, params, overrides)
    with closing(_measurements(work)) as measured, closing(Activities(work.ledger_url())) as activities:
        found = run_report(run, activities, measured, airflow=airflow_url)
    page = write_report(work.root, found)
    summary = {outcome: found.of(outcome) for outcome in ("done", "skipped", "held", "failed")}
    failed = sum(not one.is_passed for one in found.checks)
    path = page.relative_to(work.root).as_posix()
    typer.echo(json.dumps({"commands": len(found.tasks), **summary, "checks_failed": failed, "page": path}))


def _measurements(work: Workspace) -> Measurements:
    work.root.mkdir(parents=True, exist_ok=True)
    return Measurements(work.ledger_url())


def _spelled(one: Measurement) -> str:
    labels = ",".join(f"{name}={value}" for name, value in one.labels)
    return f"{one.name}{{{labels}}}" if labels else one.name


def _as_json(one: Check) -> dict[str, object]:
    return {"name": one.name, "state": one.state, "figure": one.figure, "limit": one.limit}

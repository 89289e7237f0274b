"""Releases: whether one is due, what it is, whether it passes its gate, and which one is current."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, workspace
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.promotion.parameter_sets import overrides_of
from faceloop.runner import Workspace
from facestore.promotions import Promotion, Promotions
from facestore.publish import verify

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_NOTHING_TO_DO = 99
ValuesOption = Annotated[list[str] | None, typer.Option("-S", help="SECTION.KEY=VALUE, may be repeated.")]
WhoOption = Annotated[str, typer.Option("--by", help="Who stands for it.")]


@app.command()
def due(
    force: Annotated[bool, typer.Option("--force", help="Due, whatever came since.")] = False,
    set_name: Annotated[str, typer.Option("--set", help="A name of loop.parameter_sets.")] = "default",
    run_id: Annotated[
        str | None, typer.Option("--run", envvar="FACELOOP_RUN_ID", help="Who asks: told yes once, told yes again.")
    ] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Whether enough came since the last release. Exit code 99 when not. `overrides` is for stages, by -S."""
    from faceloop.promotion.due import ask_due

    work = workspace(root, params, values)
    overrides = overrides_of(work.tree, set_name)
    with _opened(work) as promotions:
        found = ask_due(work, promotions, _loop(work).due, run_id=run_id, is_forced=force)
    typer.echo(json.dumps({**asdict(found), "parameter_set": set_name, "overrides": list(overrides)}))
    if not found.due:
        raise typer.Exit(_NOTHING_TO_DO)


@app.command()
def evaluate(root: RootOption = None, params: ParamsOption = None, values: ValuesOption = None) -> None:
    """The published release in numbers: samples, identities, estimated purity, leaks between splits."""
    from faceloop.jobs.submitting import opened_jobs
    from faceloop.promotion.figures import figures_of
    from faceloop.promotion.gate import failed_floors

    work = workspace(root, params, values)
    with opened_jobs(work) as jobs:
        figures = figures_of(work, jobs)
    typer.echo(json.dumps({**asdict(figures), "fails": failed_floors(figures, _loop(work).gate)}, sort_keys=True))


@app.command()
def gate(root: RootOption = None, params: ParamsOption = None, values: ValuesOption = None) -> None:
    """Fails (exit code 2), naming each floor of loop.gate that the published release does not reach.

    Every file of it is compared with its sha256 too.
    """
    from faceloop.jobs.submitting import opened_jobs
    from faceloop.promotion.figures import figures_of
    from faceloop.promotion.gate import check_gate

    work = workspace(root, params, values)
    with opened_jobs(work) as jobs:
        figures = figures_of(work, jobs)
    check_gate(figures, _loop(work).gate)
    verify(work.path("release"))
    typer.echo(json.dumps({"release": figures.release, "passed": True, "job_id": figures.job_id}))


@app.command()
def judge(root: RootOption = None, params: ParamsOption = None, values: ValuesOption = None) -> None:
    """The release and the model trained on it, as whoever approves is shown them, with all against the model."""
    from faceloop.jobs.submitting import opened_jobs
    from faceloop.promotion.judging import shown_for_approval

    work = workspace(root, params, values)
    with opened_jobs(work) as jobs:
        shown = shown_for_approval(work, jobs)
    typer.echo(json.dumps(shown))


@app.command(name="promote")
def promote_command(
    by: WhoOption,
    job: Annotated[str | None, typer.Option("--job", help="The job whose release was approved.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Make the published release the current one. It must pass its gate; done twice, it is done once."""
    from faceloop.jobs.submitting import opened_jobs
    from faceloop.promotion.promoting import promote

    work = workspace(root, params, values)
    with _opened(work) as promotions, opened_jobs(work) as jobs:
        _say(promote(work, promotions, jobs, _loop(work).gate, by=by, job_id=job))


@app.command()
def rollback(
    by: WhoOption,
    why: Annotated[str, typer.Option("--why", help="What is wrong with it.")],
    release: Annotated[
        str | None, typer.Option("--release", help="The release that is meant: a second call finds it done.")
    ] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: ValuesOption = None,
) -> None:
    """Take the current release back; the one before is current again."""
    with _opened(workspace(root, params, values)) as promotions:
        done = promotions.roll_back(by=by, why=why, release=release)
        now = promotions.current()
    typer.echo(json.dumps({"rolled_back": done.release, "current": now.release if now is not None else None}))


@app.command(name="list")
def list_command(root: RootOption = None, params: ParamsOption = None, values: ValuesOption = None) -> None:
    """Every promotion and roll-back, newest first, and which release is current."""
    with _opened(workspace(root, params, values)) as promotions:
        now = promotions.current()
        rows = [{**asdict(found), "at": found.at.isoformat()} for found in promotions.all()]
    typer.echo(json.dumps({"current": now.release if now is not None else None, "promotions": rows}, sort_keys=True))


@contextmanager
def _opened(work: Workspace) -> Iterator[Promotions]:
    work.root.mkdir(parents=True, exist_ok=True)
    promotions = Promotions(work.ledger_url())
    try:
        yield promotions
    finally:
        promotions.close()


def _loop(work: Workspace) -> LoopParams:
    return section(work.tree, "loop", LoopParams)


def _say(promoted: Promotion) -> None:
    """Without who it was: that stays in the table."""
    told = {
        name: getattr(promoted, name) for name in ("promotion_id", "release", "job_id", "parameter_set", "revision")
    }
    typer.echo(json.dumps({**told, "at": promoted.at.isoformat()}, sort_keys=True))

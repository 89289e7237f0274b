"""Trainings on record: listed, shown, compared, forked."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, ThreadsOption, workspace
from faceloop.experiments.recording import Trained, find_run, opened_runs, trained_runs
from faceloop.runner import Workspace

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

RunArgument = Annotated[str, typer.Argument(help="The first digits of a run, of `runs list`.")]


@app.command(name="list")
def list_command(root: RootOption = None, params: ParamsOption = None) -> None:
    """Every training, newest first: what it was trained on and what its evaluation found."""
    for run in _runs(workspace(root, params, None)):
        typer.echo(json.dumps(_line(run), sort_keys=True))


@app.command()
def show(run: RunArgument, root: RootOption = None, params: ParamsOption = None) -> None:
    """All that is on record about a training and its latest evaluation."""
    found = find_run(_runs(workspace(root, params, None)), run)
    evaluation = asdict(found.evaluation) if found.evaluation is not None else None
    told = {"training": asdict(found.training), "evaluation": evaluation, "recorded_at": found.recorded_at.isoformat()}
    typer.echo(json.dumps(told, sort_keys=True))


@app.command()
def compare(first: RunArgument, second: RunArgument, root: RootOption = None, params: ParamsOption = None) -> None:
    """Params that differ, figures side by side, loss curves; writes a page and prints JSON."""
    from faceloop.experiments.comparing import compare as compared
    from faceloop.experiments.comparison_page import SHORT, save_comparison

    work = workspace(root, params, None)
    runs = _runs(work)
    one, other = find_run(runs, first), find_run(runs, second)
    found = compared(one, other)
    name = f"{one.training.run_key[:SHORT]}-{other.training.run_key[:SHORT]}"
    page = save_comparison(work.root / "comparisons" / name, one, other, found)
    typer.echo(json.dumps({**asdict(found), "page": str(page)}, sort_keys=True))


@app.command()
def fork(
    run: RunArgument,
    do_run: Annotated[bool, typer.Option("--run", help="Train and evaluate with it at once.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """A training's params, some changed by -S, as a params file; with --run, trained and evaluated on this root."""
    from faceloop.experiments.forking import forked_params, train_and_evaluate
    from faceloop.jobs.revision import running_revision
    from faceloop.params import read_params

    work = workspace(root, params, None, threads)
    found = find_run(_runs(work), run)
    path = forked_params(work, found, overrides or [])
    told: dict[str, object] = {"forked_from": found.training.run_key, "params": str(path)}
    if do_run:
        revision = running_revision(os.environ)
        keys = train_and_evaluate(work, read_params(path), revision=revision, forked_from=found.training.run_key)
        told |= {"run_key": keys[0], "evaluation": keys[1]}
    typer.echo(json.dumps(told, sort_keys=True))


def _runs(work: Workspace) -> list[Trained]:
    with opened_runs(work) as log:
        return trained_runs(log)


def _line(run: Trained) -> dict[str, object]:
    told, figures = run.training, run.evaluation.figures if run.evaluation is not None else None
    stated = figures if isinstance(figures, dict) else {}
    shown = {name: value for name, value in stated.items() if ".candidate.tar_at_far" in name or ".gain.tar" in name}
    return {
        "run": told.run_key[:12],
        "recorded_at": run.recorded_at.isoformat(),
        "release": told.release[:12],
        "candidate": told.candidate[:12],
        "revision": (told.revision or "unknown")[:12],
        "is_dirty": told.is_dirty,
        "forked_from": told.forked_from[:12] if told.forked_from is not None else None,
        "seconds": told.wall_s,
        "figures": shown if run.evaluation is not None else None,
    }

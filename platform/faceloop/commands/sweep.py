"""The sweep: many trainings in places of their own, the best of them published."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, ThreadsOption, workspace


def sweep(
    spec: Annotated[Path, typer.Argument(help="A YAML file: name, metric, direction, seed, trials, space.")],
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials altogether, instead of the file's.")
    ] = None,
    keep_candidate: Annotated[bool, typer.Option("--no-publish", help="Leave the published candidate alone.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Try training params, judged on the val split; then train with the best, and evaluate. The same again goes on."""
    from faceloop.experiments.forking import train_and_evaluate
    from faceloop.experiments.sweep_report import PICTURE, TABLE, save_sweep
    from faceloop.experiments.sweep_spec import read_spec
    from faceloop.experiments.sweeping import changed_tree, run_sweep
    from faceloop.jobs.revision import running_revision

    work = workspace(root, params, overrides, threads)
    asked = read_spec(spec)
    if trials is not None:
        asked = asked.model_copy(update={"trials": trials})
    swept = run_sweep(work, asked)
    save_sweep(swept, asked)
    tree = changed_tree(work, swept.best, swept.folder)
    for row in swept.rows:
        value = "pruned" if row.refused is None else "refused"
        work.progress.say(f"trial {row.number}: {value if row.value is None else f'{row.value:.6g}'}")
    told: dict[str, object] = {
        "sweep": asked.name,
        "trials": len(swept.rows),
        "finished": sum(row.value is not None for row in swept.rows),
        "best": {"trial": swept.best.number, asked.metric: swept.best.value, "overrides": list(swept.best.overrides)},
        "table": str(swept.folder / TABLE),
        "picture": str(swept.folder / PICTURE),
    }
    if not keep_candidate:
        keys = train_and_evaluate(work, tree, revision=running_revision(os.environ))
        told |= {"run_key": keys[0], "evaluation": keys[1]}
    typer.echo(json.dumps(told, sort_keys=True))

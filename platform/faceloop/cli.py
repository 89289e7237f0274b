"""The command line. Settings are read here, once, and handed down; results go to stdout, progress to stderr."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from faceloop.params import default_params_path, read_params
from faceloop.progress import ConsoleProgress
from faceloop.runner import Outcome, Workspace, open_workspace, run_stage
from facestore.errors import FaceloopError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

RootOption = Annotated[Path | None, typer.Option("--root", help="Where artifacts live; params.yaml says the default.")]
ParamsOption = Annotated[Path | None, typer.Option("--params", help="A params.yaml; default: here, else the shipped one.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="SECTION.KEY=VALUE, may be repeated.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="CPU threads; default: all.")]


@app.callback()
def _commands() -> None:
    """Faceloop: raw footage to identity-labelled shards, and back round."""


def _workspace(root: Path | None, params: Path | None, overrides: list[str] | None, threads: int) -> Workspace:
    tree = read_params(params or default_params_path(), overrides or [])
    return open_workspace(root, tree, threads=threads, progress=ConsoleProgress())


def _summary(outcome: Outcome) -> dict[str, object]:
    state = "unchanged" if outcome.was_published_before else "published" if outcome.is_published else "staged"
    return {"stage": outcome.stage, "state": state, "run_key": outcome.run_key, **outcome.report.counts()}


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="ingest, detect, embed, cluster, identify or pack.")],
    batch: Annotated[str | None, typer.Option("--batch", help="Only this batch; staged until a run without it.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = os.cpu_count() or 1,
) -> None:
    """Run one stage. Prints one line of JSON: state and counts."""
    outcome = run_stage(_workspace(root, params, overrides, threads), stage, batch=batch)
    typer.echo(json.dumps(_summary(outcome), ensure_ascii=False))


def main() -> None:
    """Entry point: our errors end as one line on stderr and exit code 2, never as a traceback."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        app()
    except FaceloopError as error:
        sys.stderr.write(f"faceloop: {error}\n")
        raise SystemExit(2) from None

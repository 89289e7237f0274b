"""Ask people in Label Studio, take in their answers, see where it stands."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from faceloop.commands.options import ParamsOption, RootOption, SetOption, ThreadsOption, workspace
from faceloop.review.access import DEFAULT_FOLDER, Showing, server_address, showing, with_review_log
from faceloop.review.answering import Answered, take_answers
from faceloop.review.asking import Asked, ask_people
from faceloop.review.figures import review_figures
from faceloop.review.status import status_tables
from faceloop.runner import Workspace
from facereview.asking.survey import give_up
from facereview.labelstudio.adapter import LabelStudioServer
from facestore.errors import StageError
from facestore.reviewlog import ReviewLog

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

ServerOption = Annotated[
    Path, typer.Option("--server", help="Folder of the Label Studio that `make labelstudio` runs.")
]
Result = TypeVar("Result")


@app.command(name="push")
def push_command(
    forget: Annotated[
        str | None, typer.Option("--forget", help="A server that will not come back: ask here what waits there.")
    ] = None,
    server: ServerOption = DEFAULT_FOLDER,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Put the questions of `select` into Label Studio, each once. What is moot by now is withdrawn."""
    work = workspace(root, params, overrides)

    def ask(log: ReviewLog, there: LabelStudioServer, shown: Showing) -> Asked:
        if forget is not None:
            give_up(log, forget, now=datetime.now(UTC))
        return ask_people(work, log, there, shown, now=datetime.now(UTC))

    asked = _at_server(work, server, ask)
    counts = {**asdict(asked.pushed), "withdrawn": asked.withdrawn, "kept": asked.kept, "doubted": asked.doubted}
    typer.echo(json.dumps(counts, sort_keys=True))


@app.command(name="pull")
def pull_command(
    full: Annotated[
        bool, typer.Option("--full", help="Read every task: finds deletions that nobody announced.")
    ] = False,
    hinted: Annotated[bool, typer.Option("--hinted", help="Only projects of which the webhook spoke.")] = False,
    apply: Annotated[bool, typer.Option("--apply/--no-apply", help="Label anew where decisions changed.")] = True,
    server: ServerOption = DEFAULT_FOLDER,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = os.cpu_count() or 1,
) -> None:
    """Take in what people answered, changed and took back. Decisions count at once."""
    work = workspace(root, params, overrides, threads)

    def take(log: ReviewLog, there: LabelStudioServer, shown: Showing) -> Answered:
        return take_answers(
            work, log, there, shown, full=full, only_hinted=hinted, is_applied=apply, now=lambda: datetime.now(UTC)
        )

    answered = _at_server(work, server, take)
    counts = {**asdict(answered.pulled), "relabelled": answered.relabelled}
    counts |= {name: len(counts[name]) for name in ("closed", "reopened")}
    typer.echo(json.dumps(counts, sort_keys=True))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="The figures as one JSON object.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """How much waits, how old it is, how people answer and agree, and what their minutes buy. Asks no server."""
    figures = review_figures(workspace(root, params, overrides), now=datetime.now(UTC))
    if figures is None:
        raise StageError("nobody was ever asked in this root; run select, then `faceloop review push`")
    if as_json:
        typer.echo(json.dumps(asdict(figures), sort_keys=True))
        return
    console = Console()
    for table in status_tables(figures):
        console.print(table)


@app.command()
def queue(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Questions that did not settle, with what each annotator said, most worth first. One JSON line each."""
    figures = review_figures(workspace(root, params, overrides), now=datetime.now(UTC))
    for row in figures.queue if figures else ():
        typer.echo(json.dumps(asdict(row), sort_keys=True))


def _at_server(work: Workspace, folder: Path, use: Callable[[ReviewLog, LabelStudioServer, Showing], Result]) -> Result:
    """What `use` returns for the review log and the labelling server, which are open meanwhile."""
    address = server_address(folder, os.environ)
    there = LabelStudioServer(address.url, address.token)
    try:
        shown = showing(work, there, address, os.environ)
        return with_review_log(work, lambda log: use(log, there, shown))
    finally:
        there.close()

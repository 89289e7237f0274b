"""A release of another root as pinned input of this one."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.experiments.pin import PIN, read_pin
from faceloop.experiments.pulling import pull_release

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def pull(
    version: Annotated[str, typer.Argument(help="As its card says, or the first digits of its digest.")],
    source: Annotated[str, typer.Option("--from", help="A root, or a release's folder; a path or a file:// URL.")],
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
) -> None:
    """Copy a release here, every byte checked, and pin it: pack will not replace it."""
    pulled = pull_release(workspace(root, params, values), version, source)
    typer.echo(json.dumps(asdict(pulled), sort_keys=True))


@app.command()
def unpin(root: RootOption = None, params: ParamsOption = None, values: SetOption = None) -> None:
    """Let pack replace the release again. What was pulled stays until then."""
    work = workspace(root, params, values)
    pin = read_pin(work.root)
    (work.root / PIN).unlink(missing_ok=True)
    typer.echo(json.dumps({"unpinned": pin.version if pin is not None else None}))

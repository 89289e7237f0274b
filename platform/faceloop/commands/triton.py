"""The Triton model repository that servers read: add the exported version, go back, say what is served."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facestore.errors import InputsNotReady
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
RepositoryArgument = Annotated[Path, typer.Argument(help="Folder that the servers read as --model-repository.")]
_EXPORTED = "triton"  # in the artifact `exported`


@app.command("deploy")
def deploy_exported(
    repository: RepositoryArgument,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Add what the stage `export` wrote as the next version, and let it count. The version before stays."""
    from faceloop.export.triton import deploy

    source = workspace(root, params, overrides).path("exported") / _EXPORTED
    if not source.is_dir():
        raise InputsNotReady(f"{source} is not there; run the stage export with export.triton set")
    served = deploy(source, repository)
    _print({**asdict(served), "state": "unchanged" if served.was_there_before else "deployed"})


@app.command("roll-back")
def roll_back_repository(repository: RepositoryArgument) -> None:
    """Let the version before count again: one file is replaced, no model is copied."""
    from faceloop.export.triton import roll_back

    _print({**asdict(roll_back(repository)), "state": "rolled_back"})


@app.command()
def show(repository: RepositoryArgument) -> None:
    """The version that counts, once the whole repository was checked as a server would."""
    from faceloop.export.triton import current_version
    from faceloop.export.triton_check import check_repository

    models = check_repository(repository)
    _print({**asdict(current_version(repository)), "models": list(models), "state": "serving"})


def _print(body: dict[str, JsonValue]) -> None:
    body.pop("was_there_before", None)
    typer.echo(json.dumps(body, sort_keys=True))

"""Options that commands share, and the workspace they name."""

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from faceloop.params import default_params_path, read_params
from faceloop.progress import progress_for
from faceloop.runner import Workspace, open_workspace

RootOption = Annotated[
    Path | None,
    typer.Option("--root", envvar="FACELOOP_ROOT", help="Where artifacts live; params.yaml says the default."),
]
ParamsOption = Annotated[
    Path | None,
    typer.Option(
        "--params", envvar="FACELOOP_PARAMS", help="A params.yaml; default: the one here, else the shipped one."
    ),
]
SetOption = Annotated[list[str] | None, typer.Option("--set", "-S", help="SECTION.KEY=VALUE, may be repeated.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="CPU threads; default: all.")]
ByOption = Annotated[str, typer.Option("--by", help="Who decides; default: the user of this machine.")]

ALL_THREADS = os.cpu_count() or 1


def user() -> str:
    """Who sits at this machine."""
    return getpass.getuser()


def workspace(root: Path | None, params: Path | None, overrides: list[str] | None, threads: int = 1) -> Workspace:
    """The workspace that the options name. Raises ConfigError for params that do not hold."""
    tree = read_params(params or default_params_path(), overrides or [])
    return open_workspace(root, tree, threads=threads, progress=progress_for(os.environ))

"""mine: hard pairs for training, told apart from wrong labels, as a versioned set."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.mining.request import read_request, request_schema
from facestore.errors import ConfigError


def mine(
    file: Annotated[Path | None, typer.Argument(help="A file with the request as JSON.")] = None,
    request: Annotated[str | None, typer.Option("--request", help="The request itself, as JSON.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of requests, and end.")] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Send doubtful pairs to people, whatever the request says.")
    ] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Mine hard positives and hard negatives from the published labels. Doubtful pairs are left out, or asked about."""
    if schema:
        typer.echo(json.dumps(request_schema(), sort_keys=True))
        return
    wanted = read_request(*_text(file, request))
    if ask:
        wanted = wanted.model_copy(update={"ask": True})
    from faceloop.mining.hardset import HARD_SETS
    from faceloop.mining.hardset import mine as mine_set

    found = mine_set(workspace(root, params, overrides), wanted, now=datetime.now(UTC))
    typer.echo(
        json.dumps(
            {
                "hard_set": found.name,
                "version": found.version,
                "folder": f"{HARD_SETS}/{found.name}/{found.version}",
                "pairs": found.hard_positives + found.hard_negatives,
                "hard_positives": found.hard_positives,
                "hard_negatives": found.hard_negatives,
                "reviewed": found.reviewed,
                "asked": found.asked,
                "left_out": found.left_out,
                "state": "unchanged" if found.was_there_before else "published",
            },
            sort_keys=True,
        )
    )


def _text(file: Path | None, request: str | None) -> tuple[str, str]:
    """The request's JSON, and where it is from. Raises ConfigError unless exactly one source is given."""
    if (file is None) == (request is None):
        raise ConfigError("name one file with a request, or give it with --request; --schema says what it may hold")
    if request is not None:
        return request, "--request"
    try:
        return file.read_text(encoding="utf-8") if file else "", str(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read request {file} ({error}); give a JSON file") from error

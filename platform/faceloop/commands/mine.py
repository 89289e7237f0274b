"""mine: hard pairs for training, told apart from wrong labels, as a versioned set; and what came of it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from typer._click.core import Context  # typer carries its own click
from typer.core import TyperGroup

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.mining.request import read_request, request_schema
from facestore.errors import ConfigError

_REQUEST = "request"


class _RequestFirst(TyperGroup):
    """`mine FILE` is `mine request FILE`: what is no command of the group is a request."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        is_named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_named else [_REQUEST, *args])


app = typer.Typer(
    cls=_RequestFirst,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hard pairs for training from the published labels; afterwards a verdict. `mine FILE` mines a request.",
)


@app.command(_REQUEST)
def mine(
    file: Annotated[Path | None, typer.Argument(help="A file with the request as JSON or YAML.")] = None,
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
                "by_source": found.by_source,
                "reviewed": found.reviewed,
                "asked": found.asked,
                "left_out": found.left_out,
                "state": "unchanged" if found.was_there_before else "published",
            },
            sort_keys=True,
        )
    )


@app.command()
def verdict(
    name: Annotated[str, typer.Argument(help="Of the hard set.")],
    version: Annotated[str | None, typer.Argument(help="Of several, which one.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Did the slice that a request wanted better become better? Judged by the published evaluation, and kept."""
    from faceloop.mining.verdict import give_verdict

    found, wanted = give_verdict(workspace(root, params, overrides), name, version)
    due = None if wanted.due is None else wanted.due.isoformat()
    is_overdue = wanted.due is not None and datetime.now(UTC).date() > wanted.due and not found.is_accepted
    typer.echo(json.dumps({**asdict(found), "due": due, "is_overdue": is_overdue}, sort_keys=True))


def _text(file: Path | None, request: str | None) -> tuple[str, str]:
    """The request, and where it is from. Raises ConfigError unless exactly one source is given."""
    if (file is None) == (request is None):
        raise ConfigError("name one file with a request, or give it with --request; --schema says what it may hold")
    if request is not None:
        return request, "--request"
    try:
        return file.read_text(encoding="utf-8") if file else "", str(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read request {file} ({error}); give a JSON file") from error

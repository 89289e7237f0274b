"""What production sends back: print the schema of an event, take events and their pictures, ask about claims."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.intake.feedback import event_schema
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def schema() -> None:
    """The JSON schema of one event, a line of events.jsonl."""
    _print(event_schema())


@app.command()
def take(
    given: Annotated[Path, typer.Argument(help="A file of JSON lines, or a folder with events.jsonl; media beside.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Put pictures into the source, as subsets feedback-DEVICE; remember what production thought. Labels nothing."""
    from faceloop.intake.feedback_taking import take_feedback

    done = take_feedback(workspace(root, params, overrides), given)
    _print(
        {
            "events": done.events_in,
            "taken": done.taken,
            "known": done.known,
            "rejected": dict(done.rejected),
            "take": done.take,
        }
    )


@app.command()
def ask(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Questions about what people at the devices claimed, once ingest, detect, embed, cluster and identify have run."""
    from faceloop.intake.feedback_asking import ask_about_claims

    done = ask_about_claims(workspace(root, params, overrides), now=datetime.now(UTC))
    _print({"claims": done.claims, "waiting": done.waiting, "left": dict(done.left)})


def _print(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))

"""Find what holds a person, stop using it, certify that, take it back. Restriction of processing, not erasure."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, user, workspace
from faceloop.restriction.certificate import certify
from faceloop.restriction.inventory import in_short, take_inventory
from faceloop.restriction.papers import CERTIFICATE, RESTRICTIONS
from faceloop.restriction.restricting import lift as lift_restriction
from faceloop.restriction.restricting import restrict
from faceloop.restriction.subject import find_subject, read_situation
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

SubjectArgument = Annotated[
    str, typer.Argument(help="An identity id, a name, or the id of a face; the beginning of an id will do.")
]
ByOption = Annotated[str, typer.Option("--by", help="Who answers for it; default: the user of this machine.")]


@app.command()
def find(
    subject: SubjectArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """Everything that holds the person, counted. Changes nothing."""
    work = workspace(root, params, overrides)
    situation = read_situation(work)
    found = find_subject(situation, subject)
    _print({"subject": found.subject_id, **in_short(take_inventory(work, situation, found))})


@app.command()
def apply(
    subject: SubjectArgument,
    reason: Annotated[str, typer.Option("--reason", help="A code, such as person_asked or consent_withdrawn.")],
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Leave every face of the person out of labels, questions and releases, from the next run on."""
    work = workspace(root, params, overrides)
    done = restrict(work, subject, by=by or user(), reason=reason, now=datetime.now(UTC))
    _print({"subject": done.subject_id, "faces": done.faces, "newly": done.newly, "retracted": done.retracted})


@app.command()
def certificate(
    subject: SubjectArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """Write what is out of use now, and what still holds the person. `complete` is false while runs are missing."""
    done = certify(workspace(root, params, overrides), subject, now=datetime.now(UTC))
    _print(
        {
            "subject": done.subject_id,
            "faces": done.faces,
            "complete": done.is_complete,
            "missing": list(done.missing),
            "certificate": f"{RESTRICTIONS}/{done.subject_id}/{CERTIFICATE}",
            "sha256": done.sha256,
        }
    )


@app.command()
def lift(
    subject: SubjectArgument,
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take the restriction back: faces and what people said of them count again from the next run on."""
    done = lift_restriction(workspace(root, params, overrides), subject, by=by or user(), now=datetime.now(UTC))
    _print({"subject": done.subject_id, "faces": done.faces, "returned": done.returned})


def _print(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))

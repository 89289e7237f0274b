"""Remove every byte of a person, look that none is left, certify it. What is erased cannot be brought back."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.erase_again import again
from faceloop.commands.erase_means import (
    AlsoSourceOption,
    LabellingOption,
    SearchOption,
    YesOption,
    certified,
    means_for,
)
from faceloop.commands.erase_probe import FacesOption, confirm, listed, probe
from faceloop.commands.find_faces import find_faces
from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.erasure.again import faces_back
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.finding import BY_FACES, BY_SUBJECT, Finding
from faceloop.erasure.planning import Plan, make_plan
from faceloop.erasure.probe_papers import open_probes
from faceloop.erasure.probing import confirmed_faces, is_probe
from faceloop.erasure.saga import begin, find_ended, find_waiting, go_on
from faceloop.erasure.saga import status as erasures_of
from faceloop.restriction.subject import find_subject, read_situation
from faceloop.runner import Workspace
from facestore.errors import ConfigError
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.command()(probe)
app.command()(confirm)
app.command()(again)

SubjectArgument = Annotated[
    str,
    typer.Argument(
        help="An identity id, a name, or the id of a face; the beginning of an id will do. Or a confirmed probe."
    ),
]


@app.command()
def plan(
    subject: SubjectArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """What an erasure would remove, counted. Changes nothing."""
    work = workspace(root, params, overrides)
    whom, _ = _meant(work, subject, [])
    situation = read_situation(work)
    _print(_counts(make_plan(work, situation, find_subject(situation, whom))))


@app.command()
def apply(
    reason: Annotated[str, typer.Option("--reason", help="A code, such as person_asked or consent_withdrawn.")],
    subject: Annotated[
        str, typer.Argument(help="As for `plan`, or a probe that somebody has confirmed; none with --faces.")
    ] = "",
    faces: FacesOption = "",
    by: ByOption = "",
    is_confirmed: YesOption = False,
    also_source: AlsoSourceOption = False,
    labelling: LabellingOption = None,
    search_too: SearchOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Remove the person everywhere, search every file, write the certificate. Killed, it goes on when called again."""
    work = workspace(root, params, overrides)
    if bool(subject) == bool(faces):
        raise ConfigError("name a subject or --faces, and not both; nothing was erased")
    named = listed(faces)
    found = find_waiting(work, subject or frozenset(named))
    if found is None and (ended := find_ended(work, subject)) is not None:
        _print(certified(ended))  # a retried task, for one
        return
    if found is None:
        whom, finding = _meant(work, subject, named)
        if not is_confirmed and find_waiting(work, whom) is None:
            situation = read_situation(work)
            _print(_counts(make_plan(work, situation, find_subject(situation, whom))))
            typer.confirm("Erase this for good?", abort=True)
        found = begin(work, whom, by=by or user(), reason=reason, finding=finding)
    with means_for(work, labelling, found.tasks, also_source=also_source, search_too=search_too) as means:
        done = go_on(work, found.erasure_id, means)
    _print(certified(done))


@app.command()
def status(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Every erasure with the steps that are done, then probes that are not applied."""
    work = workspace(root, params, overrides)
    for one in erasures_of(work):
        _print({"erasure": one.erasure_id, "state": one.state, "reason": one.reason, "steps": [*one.steps]})
    if back := faces_back(work):
        _print({"faces_back": back, "then": "faceloop erase again"})
    for asked in open_probes(work.root):
        state = "confirmed" if asked.confirmed else "waits for a person"
        _print({"probe": asked.probe_id, "state": state, "asked_at": asked.asked_at, "faces": asked.faces_shown})


@app.command()
def verify(
    certificate: Annotated[Path, typer.Argument(help="A certificate.json of an erasure.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Look whether a certificate is as it was written, and whether a face of it came back. Fails where it is not so."""
    found = verify_certificate(workspace(root, params, overrides), certificate)
    _print(
        {
            "unchanged": found.is_unchanged,
            "signed_by": found.public_key,
            "known": found.is_known,
            "faces_back": found.faces_back,
        }
    )
    if not found.holds:
        raise typer.Exit(1)


def _meant(work: Workspace, subject: str, faces: list[str]) -> tuple[str | frozenset[str], Finding]:
    if faces:
        return frozenset(find_faces(work, faces)), BY_FACES
    return confirmed_faces(work, subject) if is_probe(subject) else (subject, BY_SUBJECT)


def _counts(found: Plan) -> dict[str, JsonValue]:
    return {
        "erasure": found.erasure_id,
        "subject": found.subject_id,
        "faces": len(found.face_ids),
        "tracklets": len(found.tracklet_ids),
        "tracklets_with_others": len(found.mixed_tracklet_ids),
        "footage": len(found.footage_ids),
        "footage_with_others": len(found.shared_footage_ids),
        "source_files": len(found.locations),
        "tasks": len(found.tasks),
        "releases": list(found.releases),
    }


def _print(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))

"""Remove every byte of a person, look that none is left, certify it. What is erased cannot be brought back."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.planning import Plan, make_plan
from faceloop.erasure.saga import Means, begin, find_waiting, go_on, utc_now
from faceloop.erasure.saga import status as erasures_of
from faceloop.restriction.subject import find_subject, read_situation
from faceloop.review.access import server_address
from facereview.labelstudio.adapter import LabelStudioServer
from facestore.ciphers import Signer
from facestore.errors import ServerGone
from facestore.ids import JsonValue
from facestore.secretkeys import SIGNING_KEY, read_secret

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

SubjectArgument = Annotated[
    str, typer.Argument(help="An identity id, a name, or the id of a face; the beginning of an id will do.")
]


@app.command()
def plan(
    subject: SubjectArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """What an erasure would remove, counted. Changes nothing."""
    work = workspace(root, params, overrides)
    situation = read_situation(work)
    _print(_counts(make_plan(work, situation, find_subject(situation, subject))))


@app.command()
def apply(
    subject: SubjectArgument,
    reason: Annotated[str, typer.Option("--reason", help="A code, such as person_asked or consent_withdrawn.")],
    by: ByOption = "",
    is_confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask: somebody has approved it.")] = False,
    also_source: Annotated[bool, typer.Option("--also-source", help="Remove the files of the source, too.")] = False,
    labelling: Annotated[
        Path | None,
        typer.Option("--label-studio", help="Folder of a labelling server here; FACELOOP_LABEL_STUDIO_URL."),
    ] = None,
    search_too: Annotated[
        list[Path] | None, typer.Option("--search", help="Another folder that must hold no byte; may be repeated.")
    ] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Remove the person everywhere, search every file, write the certificate. Killed, it goes on when called again."""
    work = workspace(root, params, overrides)
    waiting = find_waiting(work, subject)
    if waiting is None and not is_confirmed:
        situation = read_situation(work)
        _print(_counts(make_plan(work, situation, find_subject(situation, subject))))
        typer.confirm("Erase this for good?", abort=True)
    found = waiting or begin(work, subject, by=by or user(), reason=reason)
    has_server = bool(labelling or os.environ.get("FACELOOP_LABEL_STUDIO_URL"))
    secret = read_secret(os.environ, SIGNING_KEY)
    means = Means(
        clock=utc_now,
        signer=Signer(secret.key) if secret else None,
        delete_task=_delete_task(labelling) if has_server and found.tasks else None,
        also_source=also_source,
        search_too=tuple(search_too or ()),
    )
    done = go_on(work, found.erasure_id, means)
    _print(
        {
            "erasure": done.erasure_id,
            "faces": done.faces,
            "files_searched": done.files_searched,
            "bytes_searched": done.bytes_searched,
            "certificate": done.place,
            "sha256": done.sha256,
        }
    )


@app.command()
def status(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Every erasure with the steps that are done."""
    for one in erasures_of(workspace(root, params, overrides)):
        _print({"erasure": one.erasure_id, "state": one.state, "reason": one.reason, "steps": [*one.steps]})


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


def _delete_task(folder: Path | None) -> "_Delete":
    address = server_address(folder or Path(), os.environ)
    return _Delete(LabelStudioServer(address.url, address.token))


class _Delete:
    """Deletes a task; one that is gone counts as deleted."""

    def __init__(self, server: LabelStudioServer) -> None:
        self._server = server

    def __call__(self, task_id: int) -> None:
        try:
            self._server.delete_task(task_id)
        except ServerGone:
            return


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

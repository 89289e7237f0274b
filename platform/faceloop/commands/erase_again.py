"""After a restore: who was erased before it is erased again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.erase_means import (
    AlsoSourceOption,
    LabellingOption,
    SearchOption,
    YesOption,
    certified,
    means_for,
)
from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.erasure.again import erase_again, objects_returned, returned, take_in

CertificatesOption = Annotated[
    list[Path] | None,
    typer.Option("--certificates", help="A copy of `erasures/` that was kept elsewhere; may be repeated."),
]


def again(
    certificates: CertificatesOption = None,
    by: ByOption = "",
    is_confirmed: YesOption = False,
    also_source: AlsoSourceOption = False,
    labelling: LabellingOption = None,
    search_too: SearchOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """After a restore: take in every erasure that has a certificate, and erase whom the restore brought back.

    Nobody is back: nothing is removed. Killed, it goes on when called again.
    """
    work = workspace(root, params, overrides)
    papers, unknown = take_in(work, certificates or [])
    back, objects = returned(work, papers), objects_returned(work)
    found = {
        "erasures": len(papers),
        "taken_in": len(unknown),
        "people_back": len(back),
        "faces_back": sum(len(one.face_ids) for one in back),
        "objects_back": len(objects),
    }
    typer.echo(json.dumps(found, sort_keys=True))
    if (back or objects) and not is_confirmed:
        typer.confirm("Erase them again for good?", abort=True)
    with means_for(work, labelling, back, also_source=also_source, search_too=search_too) as means:
        for done in erase_again(work, papers, means, by=by or user()):
            typer.echo(json.dumps(certified(done), sort_keys=True))

"""End consents under which nothing may be held any more, and restrict or erase whom they concern."""

import json
import os
from datetime import datetime
from typing import Annotated

import typer

from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.consent.retention import Due, due
from faceloop.consent_gate import ConsentParams
from faceloop.erasure.retaining import concerned, hand_over
from faceloop.erasure.saga import Means, utc_now
from faceloop.params import section
from faceloop.runner import Workspace
from facestore.ciphers import Signer
from facestore.consenting import consents_named
from facestore.consents import Consents
from facestore.ids import JsonValue
from facestore.publish import read_manifest
from facestore.records import Footage
from facestore.secretkeys import SIGNING_KEY, read_secret
from facestore.tables import read_columns

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def _group() -> None:
    """Retention of what is held under consents."""


@app.command()
def sweep(
    is_applied: Annotated[bool, typer.Option("--apply/--dry-run", help="Do it; else only list.")] = False,
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """List consents whose time has come; with --apply withdraw them and hand over as `consent.after_retention` says.

    Labelling tasks of erased people are left to `faceloop erase apply`, which knows the server.
    """
    work = workspace(root, params, overrides)
    found = _due(work)
    for one in found:
        state = "due" if one.is_given else "withdrawn"
        line: dict[str, JsonValue] = {"consent_id": one.consent_id, "subject_ref": one.subject_ref, "state": state}
        typer.echo(json.dumps({**line, "retain_until": one.retain_until.isoformat()}))
    then = section(work.tree, "consent", ConsentParams).after_retention
    said: dict[str, JsonValue] = {"due": len(found), "then": then, "applied": is_applied}
    if is_applied:
        secret = read_secret(os.environ, SIGNING_KEY)
        means = Means(clock=utc_now, signer=Signer(secret.key) if secret else None)
        done = hand_over(work, found, means, by=by or user())
        said |= {"withdrawn": done.withdrawn, "subjects": done.subjects, "faces": done.faces}
        said |= {"subjects_elsewhere": done.subjects_elsewhere}
    else:
        whole, elsewhere = concerned(work, [one.consent_id for one in found])
        said |= {"subjects": len(whole), "subjects_elsewhere": len(elsewhere)}
    typer.echo(json.dumps(said))


def _due(work: Workspace) -> list[Due]:
    last_seen: dict[str, datetime] = {}
    if read_manifest(work.path("footage")) is not None:
        for row in read_columns(work.path("footage"), "footage", Footage, ("consent_id", "captured_at")).to_pylist():
            for name in consents_named(row["consent_id"]) if row["captured_at"] is not None else ():
                last_seen[name] = max(row["captured_at"], last_seen.get(name, row["captured_at"]))
    years = section(work.tree, "consent", ConsentParams).retention_years
    consents = Consents(work.ledger_url())
    try:
        return due((one.last for one in consents.standings().values()), last_seen, years, consents.now())
    finally:
        consents.close()

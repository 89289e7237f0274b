"""Record what people consent to and take back; look what that keeps from use; free the published release of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.consent.denying import deny_consents, settle
from faceloop.consent.enforcing import Holdings, holdings
from faceloop.consent.enforcing import enforce as enforce_consents
from faceloop.consent.gate_digest import export_gate, renew_gate
from faceloop.consent.holders import holders
from faceloop.consent.importing import moment, read_consents
from faceloop.runner import Workspace
from facestore.auditlog import AuditLog
from facestore.consenting import ConsentEvent, as_json, given
from facestore.consents import Consents
from facestore.errors import DataError
from facestore.ids import JsonValue, file_sha256
from facestore.peppers import known_pepper
from facestore.refs import subject_ref

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

ConsentArgument = Annotated[str, typer.Argument(help="The consent's id, as footage names it.")]


@app.command()
def add(
    consent_id: ConsentArgument,
    subject: Annotated[str, typer.Option("--subject", help="Your key of the person; only a keyed hash is kept.")],
    controller: Annotated[str, typer.Option("--controller", help="Who answers for the processing.")],
    jurisdiction: Annotated[str, typer.Option("--jurisdiction", help="ISO 3166, such as DE or US-IL.")],
    purpose: Annotated[list[str], typer.Option("--purpose", help="What for; may be repeated.")],
    category: Annotated[list[str], typer.Option("--category", help="Which data; may be repeated.")],
    notice: Annotated[Path, typer.Option("--notice", exists=True, dir_okay=False, help="The text that was shown.")],
    notice_version: Annotated[str, typer.Option("--notice-version")],
    evidence: Annotated[Path, typer.Option("--evidence", exists=True, dir_okay=False, help="What proves it.")],
    method: Annotated[str, typer.Option("--method", help="A code, such as signed_form.")],
    expires: Annotated[str, typer.Option("--expires", help="ISO 8601; empty: never.")] = "",
    guardian: Annotated[str, typer.Option("--guardian", help="Your key of who consented for a child.")] = "",
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Record one consent, given now. Notice and evidence stay where they are: their sha256 is kept."""
    work = workspace(root, params, overrides)
    pepper = known_pepper(work.ledger_url(), work.root)
    with _consents(work) as consents:
        event = given(
            consent_id=consent_id,
            subject_ref=subject_ref(pepper, subject),
            controller=controller,
            jurisdiction=jurisdiction,
            purposes=tuple(purpose),
            data_categories=tuple(category),
            notice_version=notice_version,
            notice_sha256=file_sha256(notice),
            evidence_sha256=file_sha256(evidence),
            method=method,
            said_at=consents.now(),
            expires_at=moment(expires, "expires") if expires else None,
            guardian_ref=subject_ref(pepper, guardian) if guardian else None,
            said_by=by or user(),
        )
        _record(work, consents, [event], by or user(), "consent_given")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV; docs/consent.md has its columns.")],
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Record the consents of a CSV file, all or none; what is known stays."""
    work = workspace(root, params, overrides)
    with _consents(work) as consents:
        events = read_consents(file, known_pepper(work.ledger_url(), work.root), by=by or user())
        _record(work, consents, events, by or user(), "consent_given")


@app.command()
def withdraw(
    consent_id: Annotated[str, typer.Argument(help="The consent's id; leave it out with --subject.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="Your key of the person: all their consents.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="A code.")] = "person_asked",
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take back a consent, or all of a person: from now on nothing under it is published any more."""
    if bool(consent_id) == bool(subject):
        raise DataError("name either a consent or a subject")
    work = workspace(root, params, overrides)
    ref = subject_ref(known_pepper(work.ledger_url(), work.root), subject) if subject else None
    with _consents(work) as consents:
        known = consents.standings()
        theirs = {name for name, found in known.items() if name == consent_id or found.last.subject_ref == ref}
        deny_consents(work, theirs)  # before it is recorded: killed in between, galleries in use stop all the same
        gone = consents.withdraw(consent_id=consent_id or None, subject_ref=ref, reason=reason, by=by or user())
        deny_consents(work, theirs | set(gone))  # again: a gallery's publication, a new consent may have come between
    _audit(work, by or user(), "consent_withdrawn", len(gone))
    renew_gate(work)
    for one in holders(work, theirs):
        _print(one.as_json())
    _print({"withdrawn": list(gone)})


@app.command()
def status(
    consent_id: ConsentArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """Each artifact under the root that holds faces of one consent, what it is worth now, and what to do. Changes
    nothing; the last line says how the consent stands."""
    work = workspace(root, params, overrides)
    with _consents(work) as consents:
        found = consents.standings([consent_id])
    if consent_id not in found:
        raise DataError("no such consent was given; `faceloop consent list` has the ids")
    held = holders(work, [consent_id])
    for one in held:
        _print(one.as_json())
    _print({"consent_id": consent_id, "state": found[consent_id].last.kind, "holders": len(held)})


@app.command(name="list")
def list_(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Every consent, a line each, with how it stands."""
    with _consents(workspace(root, params, overrides)) as consents:
        for name, found in consents.standings().items():
            ends = found.last.expires_at.isoformat() if found.last.expires_at else None
            line: dict[str, JsonValue] = {"consent_id": name, "epoch": found.epoch, "state": found.last.kind}
            _print({**line, "purposes": list(found.last.purposes), "expires_at": ends})


@app.command()
def show(
    consent_id: ConsentArgument, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """Everything that was said of one consent, in order: what a controller must be able to show."""
    with _consents(workspace(root, params, overrides)) as consents:
        said = consents.history(consent_id)
    if not said:
        raise DataError("no such consent was given; `faceloop consent list` has the ids")
    for event in said:
        _print(as_json(event))


@app.command()
def check(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """What consents keep from use, and what published artifacts still hold of it. Changes nothing."""
    _print(_in_short(holdings(workspace(root, params, overrides))))


@app.command()
def enforce(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Take withheld samples out of the published release now; the other artifacts follow with the next runs."""
    _print(_in_short(enforce_consents(workspace(root, params, overrides))))


@app.command()
def export(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Write what is withheld now as `consents.json`, which DVC sees: digests by purpose. Unchanged, nothing is done."""
    _print({"state": "written" if export_gate(workspace(root, params, overrides)) else "unchanged"})


@contextmanager
def _consents(work: Workspace) -> Iterator[Consents]:
    consents = Consents(work.ledger_url())
    try:
        yield consents
    finally:
        consents.close()


def _record(work: Workspace, consents: Consents, events: list[ConsentEvent], by: str, action: str) -> None:
    written = consents.append(events)
    renew_gate(work)
    settle(work, consents.standings({event.consent_id for event in events}), consents.now(), lifts=True)
    _audit(work, by, action, written)
    _print({"given": len(events), "new": written})


def _audit(work: Workspace, by: str, action: str, count: int) -> None:
    if count:
        log = AuditLog(work.ledger_url())
        try:
            log.append(who=by, action=action, purpose="consent", what={"consents": count})
        finally:
            log.close()


def _in_short(found: Holdings) -> dict[str, JsonValue]:
    then: list[JsonValue] = ["run embed, then cluster, identify, select and pack"] if found.vectors else []
    then += ["faceloop consent enforce"] if found.samples else []
    return {
        "withheld_footage": dict(found.footage),
        "reasons": dict(found.reasons),
        "vectors": found.vectors,
        "samples": found.samples,
        "then": then,
        "looked_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _print(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))

"""The audit log: who read or changed what for which purpose, chained, signed, and anchored elsewhere."""

import json
import os
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facestore.auditanchors import put_anchor, read_anchors
from facestore.auditchain import AuditEntry, spelled
from facestore.auditlog import AuditLog
from facestore.ciphers import Signer
from facestore.errors import ConfigError
from facestore.ids import JsonValue
from facestore.secretkeys import SIGNING_KEY, read_secret, write_secret

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

_MOST = 10_000


@app.command()
def keygen(key_file: Annotated[Path, typer.Argument(help="A new file; made, for its owner's eyes only.")]) -> None:
    """Make a signing key and print the public key, which verifies: keep that with the anchors' readers."""
    typer.echo(json.dumps({"public_key": Signer(write_secret(key_file)).public_key().hex()}))


@app.command()
def anchor(
    to: Annotated[str, typer.Option("--to", help="A folder elsewhere, file:// or s3://BUCKET/PREFIX.")],
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The signing key's file.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Sign the log's head and keep it elsewhere, once. Run it every minute; an unchanged log makes no new anchor."""
    secret = read_secret({}, SIGNING_KEY, key_file) if key_file else read_secret(os.environ, SIGNING_KEY)
    if secret is None:
        raise ConfigError(f"no signing key: set {SIGNING_KEY}, or name the file of `faceloop audit keygen`")
    log = AuditLog(workspace(root, params, overrides).ledger_url())
    try:
        head = log.sign_head(Signer(secret.key))
    finally:
        log.close()
    key = put_anchor(to, head)
    typer.echo(json.dumps({"entries": head.entries, "entry_hash": head.entry_hash, "anchor": key}))


@app.command()
def verify(
    anchors: Annotated[
        list[str] | None, typer.Option("--anchors", help="Where `anchor` put heads; may be repeated.")
    ] = None,
    public_key: Annotated[
        list[str] | None, typer.Option("--public-key", help="Hex; who may have signed. May be repeated.")
    ] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Check every entry and every signed head. Fails at the first that was changed, removed, moved or cut off."""
    log = AuditLog(workspace(root, params, overrides).ledger_url())
    try:
        kept = [head for url in anchors or () for head in read_anchors(url)]
        if anchors and not kept:
            raise ConfigError("no anchor is there; name the place that `faceloop audit anchor --to` was given")
        state = log.verify(kept, public_keys=public_key or ())
    finally:
        log.close()
    said: dict[str, JsonValue] = {
        "entries": state.entries,
        "entry_hash": state.entry_hash,
        "signed_entries": state.signed_entries,
        "unsigned_entries": state.entries - state.signed_entries,
        "anchors": len(kept),
    }
    typer.echo(json.dumps(said))


@app.command(name="list")
def list_entries(
    last: Annotated[int, typer.Option("--last", min=1, max=_MOST, help="So many of the newest.")] = 50,
    action: Annotated[str | None, typer.Option("--action", help="Only these, for instance `review push`.")] = None,
    subject_ref: Annotated[str | None, typer.Option("--subject-ref", help="Only about this keyed reference.")] = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Entries as lines of JSON, oldest first."""
    log = AuditLog(workspace(root, params, overrides).ledger_url())
    try:
        chosen = (
            entry
            for entry in log.entries()
            if action in (None, entry.action) and subject_ref in (None, entry.subject_ref)
        )
        for entry in deque(chosen, maxlen=last):
            typer.echo(json.dumps(_shown(entry)))
    finally:
        log.close()


def _shown(entry: AuditEntry) -> dict[str, JsonValue]:
    return {
        "seq": entry.seq,
        "at": spelled(entry.at),
        "who": entry.who,
        "action": entry.action,
        "purpose": entry.purpose,
        "subject_ref": entry.subject_ref,
        "what": dict(entry.what),
        "entry_hash": entry.entry_hash,
    }

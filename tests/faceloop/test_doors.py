"""Which commands leave entries in the audit log: every command is a door, or is named here with why it is none."""

from importlib import import_module

import typer

from faceloop.cli import app
from faceloop.commands.auditing import purpose_of
from faceloop.commands.late import LATE

NO_DOORS = {
    "audit keygen", "audit verify", "store roles",  # no person's data
    "catalogue migrate", "catalogue restore", "catalogue drill", "catalogue rebuild",  # must work on a broken log
    "catalogue backup", "catalogue copy",  # must work on an older revision of it
    "cluster", "sample-footage",  # no root
    "jobs show", "jobs list", "jobs cancel", "keys status", "models list", "models register", "operate",
    "processing-records",
    "release unpin", "releases due", "releases gate", "releases judge", "releases list", "review status",
    "review queue",
    "runs", "serve-metrics", "triton", "watch check", "feedback schema",  # counts, ids, models
    "loop", "serve-webhook",  # schedulers' and servers' questions; what they lead to is a door
    "repair", "verify",  # bytes and hashes
    "run",  # each of its stages has an entry of its own, or reads for no person
}  # fmt: skip


def _commands() -> list[str]:
    names = [str(found.name or (found.callback and found.callback.__name__)) for found in app.registered_commands]
    for first, (module, name) in LATE.items():
        found = getattr(import_module(f"faceloop.commands.{module}"), name)
        if not isinstance(found, typer.Typer):
            names.append(first)
            continue
        for one in found.registered_commands:
            second = str(one.name or (one.callback and one.callback.__name__))
            names.append(f"{first} {second.replace('_', '-')}")
    return names


def test_every_command_is_a_door_or_is_known_to_be_none() -> None:
    found = _commands()
    assert len(found) > 60
    unknown = [name for name in found if purpose_of(name) is None and not {name, name.partition(" ")[0]} & NO_DOORS]
    assert unknown == []
    assert [name for name in NO_DOORS if purpose_of(name) is not None] == []


def test_what_takes_storage_or_secrets_away_is_a_door() -> None:
    assert purpose_of("store sweep") == purpose_of("retention sweep") == "storage_limitation"
    assert purpose_of("keys seal") == purpose_of("keys pictures") == "security"
    assert purpose_of("mine request") == purpose_of("mine verdict") == "labelling"
    assert purpose_of("jobs submit") == "training"
    assert purpose_of("gallery export") == "recognition"

"""Encrypt a root: a key for every face, wrapped by a master key that lies elsewhere."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facestore.errors import ConfigError
from facestore.ids import JsonValue
from facestore.keyrotation import rotate as rotate_keys
from facestore.keys import DEFAULT_KEYS, MARKER, init_keyring, open_keyring, read_marker
from facestore.secretkeys import MASTER_KEY, NEW_MASTER_KEY, read_secret, write_secret

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

KeyFileOption = Annotated[
    Path | None, typer.Option("--key-file", help="A new file outside the root; made, for its owner's eyes only.")
]


@app.command()
def init(
    key_file: KeyFileOption = None,
    keys: Annotated[
        str, typer.Option("--keys", help="Where data keys are kept: a SQLAlchemy URL, or a file below the root.")
    ] = DEFAULT_KEYS,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Opt a root in. What stages write from now on is sealed; what is there already stays as it is."""
    work = workspace(root, params, overrides)
    if (work.root / MARKER).exists():
        raise ConfigError("this root is encrypted already; `faceloop keys rotate` changes its master key")
    secret, key_file = _chosen(MASTER_KEY, key_file, work.root)
    marker = init_keyring(work.root, master_key=secret, key_file=key_file, keys=keys)
    there = [name for name in ("crops", "embeddings", "release") if work.path(name).exists()]
    _print({"master_id": marker.master_id, "not_encrypted": list[JsonValue](there)})


@app.command()
def status(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Whether a root is encrypted, and how many data keys which master key wraps."""
    work = workspace(root, params, overrides)
    ring = open_keyring(work.root)
    if ring is None:
        _print({"encrypted": False})
        return
    try:
        marker, counts = read_marker(work.root), ring.counts()
    finally:
        ring.close()
    _print(
        {
            "encrypted": True,
            "master_id": marker.master_id,
            "rotating_to": marker.new_master_id,
            "keys": dict[str, JsonValue](counts),
        }
    )


@app.command()
def rotate(
    key_file: KeyFileOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Wrap all data keys under a new master key; afterwards the old one opens nothing. Run it again after a kill."""
    work = workspace(root, params, overrides)
    if not (work.root / MARKER).exists():
        raise ConfigError("this root is not encrypted; `faceloop keys init` does that")
    begun = read_marker(work.root).new_key_file
    key_file = key_file or (Path(begun) if begun else None)
    secret, key_file = _chosen(NEW_MASTER_KEY, key_file, work.root)
    done = rotate_keys(work.root, new_key=secret, new_key_file=key_file, environ=os.environ)
    _print({"master_id": read_marker(work.root).master_id, "rewrapped": done})


def _chosen(name: str, key_file: Path | None, root: Path) -> tuple[bytes, Path | None]:
    """The key of the environment, else that of the file, which is made where it is not there."""
    if key_file is not None:
        if key_file.resolve().is_relative_to(root.resolve()):
            raise ConfigError("the master key must not lie in the root that it protects; name a file elsewhere")
        found = read_secret({}, name, key_file)
        return (found.key if found is not None else write_secret(key_file)), key_file
    found = read_secret(os.environ, name)
    if found is None:
        raise ConfigError(f"no master key: name a new file with --key-file, or set {name}")
    return found.key, None


def _print(said: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(said))

"""Encrypt a root: a key for every face, wrapped by a master key that lies elsewhere."""

import json
import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.erasure.copies import copies_of
from faceloop.export.gallery_shelf import GALLERIES
from faceloop.runner import Workspace
from faceloop.upkeep.sealing import plain_folders, seal_root
from faceloop.upkeep.sealing_galleries import plain_galleries
from facestore.errors import ConfigError
from facestore.ids import JsonValue
from facestore.keymarker import MARKER, read_marker, write_marker
from facestore.keyrotation import rotate as rotate_keys
from facestore.keys import DEFAULT_KEYS, init_keyring, open_keyring
from facestore.secretkeys import MASTER_KEY, NEW_MASTER_KEY, read_secret, write_secret

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

PLAIN_BY_DESIGN = (
    "objects: footage shows many people; erasure removes it",
    "candidate, models: class centres are part of what was learnt; retire the model",
    "tables and catalogue: ids, boxes, times, scores, labels, names that people gave",
    "the labelling server: pictures that people were asked about",
    "temporary files: footage while it is decoded or fetched",
)

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
    """Opt a root in. What stages write from now on is sealed; what is there already `seal` seals."""
    work = workspace(root, params, overrides)
    if (work.root / MARKER).exists():
        raise ConfigError("this root is encrypted already; `faceloop keys rotate` changes its master key")
    secret, key_file = _chosen(MASTER_KEY, key_file, work.root)
    marker = init_keyring(work.root, master_key=secret, key_file=key_file, keys=keys)
    said: dict[str, JsonValue] = {"master_id": marker.master_id, "not_encrypted": _plain(work)}
    _print(said | ({"then": "faceloop keys seal"} if said["not_encrypted"] else {}))


@app.command()
def status(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Whether a root is encrypted, which master key wraps how many data keys, and what is kept plain."""
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
            "not_encrypted": _plain(work),
            "pictures_in_pages": marker.has_pictures,
            "plain_by_design": list[JsonValue](PLAIN_BY_DESIGN),
        }
    )


@app.command()
def seal(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Seal what was there before its root was encrypted, and remove the plain files. Run it again after a kill."""
    work = workspace(root, params, overrides)
    sealed = seal_root(work)
    copies = copies_of(work.root)
    said: dict[str, JsonValue] = {
        "sealed": list[JsonValue](sealed.folders),
        "galleries": sealed.galleries,
        "not_encrypted": _plain(work),
    }
    if copies.folders or copies.elsewhere:
        said["copies"] = len(copies.folders) + len(copies.elsewhere)
        said["then"] = "copies of before are in DVC: dvc commit --force, dvc push, dvc gc --workspace --cloud"
    _print(said)


class _Switch(StrEnum):
    ON = "on"
    OFF = "off"


@app.command()
def pictures(
    switch: Annotated[_Switch, typer.Argument(help="Whether pages of this root may hold pictures of faces.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Let pages of an encrypted root hold pictures, which are not sealed there; or leave them out again."""
    work = workspace(root, params, overrides)
    write_marker(work.root, replace(read_marker(work.root), has_pictures=switch is _Switch.ON))
    _print({"pictures_in_pages": switch is _Switch.ON, "not_encrypted": _plain(work)})


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


def _plain(work: Workspace) -> list[JsonValue]:
    """What of the root is kept plain and need not be."""
    return [*plain_folders(work), *(f"{GALLERIES}/{name}" for name in plain_galleries(work.root))]


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

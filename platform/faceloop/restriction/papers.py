"""The papers of a restriction: `ROOT/restrictions/SUBJECT/`, written whole or not at all."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.publish import sync_path

RESTRICTIONS = "restrictions"
_SUBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
FOUND, LIFTED, CERTIFICATE, PAGE = "found.json", "lifted.json", "certificate.json", "certificate.html"


def folder_of(root: Path, subject_id: str) -> Path:
    """Where the papers of a subject lie. Their ids are ours: letters, digits, hyphens; DataError for another."""
    if _SUBJECT_ID.fullmatch(subject_id) is None:
        raise DataError("this is no id of a subject; give the one that `restrict find` prints")
    return root / RESTRICTIONS / subject_id


def write_paper(root: Path, subject_id: str, name: str, body: Mapping[str, JsonValue], *, only_new: bool) -> None:
    """Write one paper as JSON. `only_new`: one that is there stays; what was found first is the record."""
    path = folder_of(root, subject_id) / name
    if not (only_new and path.is_file()):
        write_text(path, json.dumps(body, indent=1, sort_keys=True) + "\n")


def read_paper(root: Path, subject_id: str, name: str) -> dict[str, JsonValue] | None:
    """A paper, or None where it was never written. Raises DataError for one that is no JSON object."""
    path = folder_of(root, subject_id) / name
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); apply the restriction again") from error
    if not isinstance(body, dict):
        raise DataError(f"{path} is no JSON object; apply the restriction again")
    return body


def write_text(path: Path, text: str) -> None:
    """Replace a file by one rename, synced before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    waiting.write_text(text, encoding="utf-8")
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)

"""Where published galleries lie: `ROOT/galleries/DIGEST/`, and beside them the pointer to the one that counts."""

import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from faceloop.export.gallery import members_of
from facestore.errors import DataError

GALLERIES, CURRENT = "galleries", "current.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFaces:
    """A gallery by the name of its folder, and how many of the faces that were asked for went into it."""

    gallery: str
    faces: int
    is_current: bool


def history_of(root: Path) -> list[str]:
    """Folders of the galleries that counted, the last one counts. Raises DataError for a broken pointer."""
    path = root / GALLERIES / CURRENT
    if not path.is_file():
        return []
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return [*map(str, body["before"]), str(body["gallery"])]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no pointer ({error}); publish a gallery again") from error


def galleries_with(root: Path, face_ids: Set[str]) -> list[HeldFaces]:
    """Every gallery on the shelf that holds one of these faces, by name; those that do not count any more too.

    Raises DataError for one that cannot be read: nobody knows then who is in it.
    """
    shelf = root / GALLERIES
    folders = sorted(path for path in shelf.iterdir() if path.is_dir()) if shelf.is_dir() else []
    current = history_of(root)[-1:]
    held = [
        HeldFaces(gallery=folder.name, faces=len(members_of(folder) & face_ids), is_current=folder.name in current)
        for folder in folders
        if not folder.name.startswith(".")
    ]
    return [found for found in held if found.faces]

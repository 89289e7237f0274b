"""What a check looks at: everything published below a root, or one artifact, release or batch of it, or the store."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faceloop.runner import Workspace
from facestore.checks import Check, ObjectCheck, file_checks
from facestore.errors import DataError, StageError
from facestore.ids import media_key
from facestore.objects import ObjectStore, open_store
from facestore.publish import MANIFEST
from facestore.records import MEDIA_ERASED, Footage
from facestore.tables import read_table

_PASSED_OVER = (".partial", ".old")  # staged, or about to go: nobody reads them


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """At most one of them is given; none: all that is published, and the objects that footage needs."""

    artifact: str | None = None
    release: Path | None = None
    batch: str | None = None
    is_store: bool = False  # every object, needed or not


def checks_of(work: Workspace, scope: Scope) -> list[Check]:
    """In a fixed order. Raises StageError when nothing of it was ever published."""
    checks: list[Check] = []
    if scope.is_store:
        checks += _objects(work, None, is_every=True)
    elif scope.release is not None:
        checks += file_checks(scope.release, scope.release.name)
    elif scope.artifact is not None:
        checks += _of_artifact(work, scope.artifact)
    else:
        for folder in published_folders(work):
            checks += file_checks(folder, folder.relative_to(work.root).as_posix(), scope.batch)
        checks += _objects(work, scope.batch, is_every=False)
    if not checks:
        raise StageError("nothing of that was published here; look at the name, and at --root")
    return checks


def published_folders(work: Workspace) -> list[Path]:
    """Every folder below the root with a manifest: artifacts, copies of releases, models, hard sets, galleries."""
    found, objects = [], work.external("objects")
    for at, folders, names in os.walk(work.root):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not name.endswith(_PASSED_OVER) and str(Path(at, name)) != objects
        )
        if MANIFEST in names:
            found.append(Path(at))
    return found


def store_of(work: Workspace) -> ObjectStore:
    return open_store(work.external("objects"), may_link=False)


def needed_objects(work: Workspace, batch: str | None = None) -> dict[str, int] | None:
    """Keys that the published footage names, with their sizes, but for media that were erased; None where that table
    does not read."""
    folder = work.path("footage")
    try:
        return {
            media_key(record.footage_id): record.size_bytes
            for record in read_table(folder, "footage", Footage)
            if (batch is None or record.batch == batch) and MEDIA_ERASED not in record.flags
        }
    except DataError:
        return None


def _of_artifact(work: Workspace, artifact: str) -> list[Check]:
    folder = work.path(artifact) if hasattr(work.paths, artifact) else work.root / artifact
    if not folder.resolve().is_relative_to(work.root.resolve()):
        raise StageError(f"{artifact!r} is not below the root; name an artifact of params.yaml, or use --release")
    return [*file_checks(folder, folder.relative_to(work.root).as_posix())]


def _objects(work: Workspace, batch: str | None, *, is_every: bool) -> Iterator[ObjectCheck]:
    store, needed = store_of(work), needed_objects(work, batch)
    keys = dict(needed or {})
    if is_every or needed is None:
        for stored in store.listed(0.0):
            keys.setdefault(stored.key, stored.size_bytes)
    for key, size_bytes in sorted(keys.items()):
        yield ObjectCheck(store=store, key=key, size_bytes=size_bytes)

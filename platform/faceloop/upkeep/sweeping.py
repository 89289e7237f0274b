"""What crashes left lying: listed, and taken away when asked. Nothing that a living run may still use is touched."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from faceloop.runner import Workspace, hold
from faceloop.upkeep.scope import needed_objects, store_of
from facestore.errors import DataError, LeaseHeld, StoreError
from facestore.intake import Intake
from facestore.leases import Leases, LeaseState, has_ended
from facestore.objects import BucketStore
from facestore.publish import MANIFEST, recover, sync_path, verify

Kind = Literal["partial_file", "old_version", "dead_work_area", "orphan_object", "unclaimed_object", "open_upload"]
_MEDIA = "media/"
_AREA = re.compile(r"\.(?P<artifact>.+)\.t(?P<token>\d+)\.(?P<lease>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that nobody refers to any more. `place` is below the root, or a key of the store."""

    kind: Kind
    place: str
    size_bytes: int  # 0 where it is not known
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    leftover: Leftover
    remove: Callable[[], None] | None  # None: for a person to decide


def sweep(work: Workspace, *, now_s: float, older_than_s: float, is_dry: bool) -> tuple[list[Leftover], list[Leftover]]:
    """What was found, and what of it was taken away: nothing when `is_dry`, nor what a living run holds.

    Raises StoreError when the store, or the catalogue with its leases, cannot be used.
    """
    found = [*_in_the_root(work, now_s, older_than_s), *_in_the_store(work, now_s, older_than_s)]
    removed = []
    for each in found if not is_dry else ():
        if each.remove is None:
            continue
        try:
            each.remove()
        except LeaseHeld:
            continue
        except OSError as error:
            raise StoreError(f"cannot remove {each.leftover.place}: {error}; check the folder") from error
        removed.append(each.leftover)
    return [each.leftover for each in found], removed


def _in_the_root(work: Workspace, now_s: float, older_than_s: float) -> Iterator[_Found]:
    leases = Leases(work.ledger_url())
    try:
        held = {state.name: state for state in leases.states()}
    finally:
        leases.close()
    source = work.external("source")  # may lie in the root, and is the user's own whatever its names end in
    for at, folders, names in os.walk(work.root):
        folders[:] = sorted(name for name in folders if str(Path(at, name)) != source)
        for name in list(folders):
            path = Path(at, name)
            area = _AREA.fullmatch(name)
            if area is not None:
                folders.remove(name)
                if not _is_alive(held, unquote(area["lease"]), int(area["token"])):
                    leftover = _leftover(work, "dead_work_area", path, now_s)
                    yield _Found(leftover=leftover, remove=_remover(work, unquote(area["lease"]), path))
            elif name.endswith(".old") and (path.with_suffix("") / MANIFEST).is_file():
                folders.remove(name)
                leftover = _leftover(work, "old_version", path, now_s)
                yield _Found(leftover=leftover, remove=_recoverer(work, path.with_suffix("")))
            elif name.endswith(".partial"):
                folders.remove(name)  # a shelf: finished batches wait there for the run that publishes them
        for name in sorted(names):
            path = Path(at, name)
            if name.endswith(".partial"):
                leftover = _leftover(work, "partial_file", path, now_s)
                if leftover.age_s > older_than_s:
                    yield _Found(leftover=leftover, remove=_unlinker(path))


def _in_the_store(work: Workspace, now_s: float, older_than_s: float) -> Iterator[_Found]:
    store, needed = store_of(work), _needed_if_whole(work)
    if needed is not None:
        for stored in store.listed(now_s):
            # Others keep theirs in the same store: anchors of the audit log, say.
            is_media = stored.key.startswith(_MEDIA)
            if is_media and stored.key not in needed and stored.age_s > older_than_s:
                kind: Kind = "orphan_object" if needed else "unclaimed_object"  # without footage: told, never taken
                leftover = Leftover(kind=kind, place=stored.key, size_bytes=stored.size_bytes, age_s=stored.age_s)
                yield _Found(leftover=leftover, remove=_forgetter(work, stored.key) if needed else None)
    if isinstance(store, BucketStore):
        bucket = store.bucket
        for upload in bucket.started_uploads(store.prefix):
            age_s = now_s - upload.started_at.timestamp()
            if age_s > older_than_s:
                place = upload.key.removeprefix(store.prefix)
                leftover = Leftover(kind="open_upload", place=place, size_bytes=0, age_s=age_s)
                yield _Found(leftover=leftover, remove=partial(bucket.abort, upload.key, upload.upload_id))


def _needed_if_whole(work: Workspace) -> dict[str, int] | None:
    """What footage needs; empty without any. None where the table is not whole as it was published: of what it lost
    nobody knows the objects."""
    folder = work.path("footage")
    if folder.exists():
        try:
            verify(folder)
        except (DataError, OSError):
            return None
    return needed_objects(work)


def _is_alive(held: Mapping[str, LeaseState], lease: str, token: int) -> bool:
    """Whether the holder of an area may still work in it: its token was not taken back, nor its process ended."""
    state = held.get(lease)
    return state is not None and state.token == token and state.holder is not None and not has_ended(state.holder)


def _remover(work: Workspace, lease: str, path: Path) -> Callable[[], None]:
    def remove() -> None:
        with hold(work, lease) as held, held.fenced():
            shutil.rmtree(path, ignore_errors=True)

    return remove


def _recoverer(work: Workspace, path: Path) -> Callable[[], None]:
    def put_right() -> None:
        with hold(work, "upkeep") as held, held.fenced():  # a run that renames does so in such a turn too
            recover(path)

    return put_right


def _unlinker(path: Path) -> Callable[[], None]:
    def unlink() -> None:
        path.unlink(missing_ok=True)
        sync_path(path.parent)

    return unlink


def _forgetter(work: Workspace, key: str) -> Callable[[], None]:
    """Forgotten first: else ingest would believe that the bytes are still there when the same file comes back."""

    def forget_and_remove() -> None:
        with hold(work, "ingest"):
            needed = _needed_if_whole(work)
            if not needed or key in needed:
                return  # ingest published it meanwhile, or the table went
            intake = Intake(work.ledger_url())
            try:
                intake.forget([key.rpartition("/")[2]])
            finally:
                intake.close()
            store_of(work).remove([key])

    return forget_and_remove


def _leftover(work: Workspace, kind: Kind, path: Path, now_s: float) -> Leftover:
    files: Sequence[Path] = [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    return Leftover(
        kind=kind,
        place=path.relative_to(work.root).as_posix(),
        size_bytes=sum(found.stat().st_size for found in files),
        age_s=max(0.0, now_s - path.stat().st_mtime),
    )

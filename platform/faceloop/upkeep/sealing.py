"""A root that was made before it was encrypted: its crops, vectors and samples sealed, what lay there plain removed.

Sealed copies are built beside the artifacts and take their places in one exchange; keys of runs and batches that held
before hold afterwards, so that no stage runs again for it. Killed anywhere, it is called again.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from faceloop.batches import BATCH_FILE, batch_keys, run_key_of
from faceloop.runner import Workspace, hold, stage_params
from faceloop.stage import STAGES, load_stage
from faceloop.upkeep.scope import published_folders
from faceloop.upkeep.sealing_galleries import seal_galleries
from facestore.crops import CROPS_FILE, has_plain_crops, seal_crops
from facestore.diskfaults import disk_faults
from facestore.errors import ConfigError, FaceloopError
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange, pending_exchange
from facestore.ids import JsonValue, canonical_json
from facestore.keymarker import is_without_pictures
from facestore.keys import KeyRing, open_keyring
from facestore.publish import (
    MANIFEST,
    Manifest,
    partial_path,
    put_in_place,
    read_manifest,
    recover,
    sync_tree,
    write_manifest,
)
from facestore.records import Record
from facestore.releasesealing import has_plain_samples, seal_samples
from facestore.sealedcolumns import plain_record
from facestore.shardindex import INDEX
from facestore.tables import read_table, write_table

HOME = ".sealing"  # below the root, while it lasts
_JOURNAL, _WAITING, _ASIDE = "swap.json", "waiting", "aside"
_PICTURE = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+")
_SHEETS = ("alike.png", "unlike.png")  # of an evaluation; its page holds them too
_PAGE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What was sealed now: folders that were published before, by path below the root; galleries."""

    folders: tuple[str, ...]
    galleries: int


def plain_folders(work: Workspace) -> list[str]:
    """Published folders of a root that still hold crops, vectors, samples or pictures that are not sealed."""
    folders = [folder for folder in published_folders(work) if _has_plain(folder)]
    return [folder.relative_to(work.root).as_posix() for folder in folders]


def seal_root(work: Workspace) -> Sealed:
    """Seal everything of an encrypted root that is kept plain and need not be; again, it changes nothing.

    Raises ConfigError where the root is not encrypted, LeaseHeld while a stage runs, StoreError when the disk is full.
    """
    ring = open_keyring(work.root)
    if ring is None:
        raise ConfigError("this root is not encrypted; `faceloop keys init` first")
    with disk_faults("seal a root"), ExitStack() as held:
        for name in (*STAGES, "gallery"):
            held.enter_context(hold(work, name))
        plain = _finish(work)  # of a run that was killed
        for old in sorted(work.root.rglob("*.old")):  # as its last publication left it
            if (old / MANIFEST).is_file():
                recover(old.with_name(old.name.removesuffix(".old")))
        plain |= set(plain_folders(work))
        artifacts = _artifacts(work)
        if any(work.path(name).relative_to(work.root).as_posix() in plain for name in artifacts):
            _begin(work, artifacts, ring)
            _finish(work)
        for folder in published_folders(work):
            if _has_plain(folder):
                _replace(work, folder, ring)
        galleries = seal_galleries(work.root)
        ring.close()
    return Sealed(folders=tuple(sorted(plain)), galleries=galleries)


def _artifacts(work: Workspace) -> list[str]:
    """Published artifacts below the root, in the order in which they are made. What was staged is given up."""
    made = [out for stage in STAGES for out in load_stage(stage).outs]
    found = []
    for name in dict.fromkeys([*made[:1], "decisions", *made[1:]]):
        path = work.path(name)
        recover(path)
        shutil.rmtree(partial_path(path), ignore_errors=True)
        if path.is_relative_to(work.root) and read_manifest(path) is not None:
            found.append(name)
    return found


def _begin(work: Workspace, names: list[str], ring: KeyRing) -> None:
    home = work.root / HOME
    shutil.rmtree(home, ignore_errors=True)
    before = {name: manifest for name in names if (manifest := read_manifest(work.path(name))) is not None}
    plain: list[JsonValue] = [work.path(name).relative_to(work.root).as_posix() for name in names]
    plain = [name for name in plain if _has_plain(work.root / str(name))]
    waiting = {name: home / _WAITING / name for name in names}
    for name in names:
        _sealed_copy(work.path(name), waiting[name], ring)
    _stamp(work, before, waiting)
    turns = [Turn(waiting=waiting[name], live=work.path(name), aside=home / _ASIDE / name) for name in names]
    begin_exchange(home / _JOURNAL, turns, plain)


def _finish(work: Workspace) -> set[str]:
    """Complete an exchange that was begun; returns the folders that it is about. What lay there plain goes for good."""
    home = work.root / HOME
    note = pending_exchange(home / _JOURNAL)
    if isinstance(note, list):
        complete_exchange(home / _JOURNAL)
        shutil.rmtree(home / _ASIDE, ignore_errors=True)
        end_exchange(home / _JOURNAL)
    shutil.rmtree(home, ignore_errors=True)
    return {str(name) for name in note} if isinstance(note, list) else set()


def _stamp(work: Workspace, before: Mapping[str, Manifest], waiting: Mapping[str, Path]) -> None:
    """Manifests of the copies. Keys of runs and batches that held for what was there hold for the sealed."""
    after: dict[str, Manifest] = {}

    def write(name: str, run_key: str) -> None:
        was = before[name]
        inputs = {source: _now(digest, before, after) for source, digest in was.inputs.items()}
        after[name] = write_manifest(waiting[name], stage=was.stage, run_key=run_key, counts=was.counts, inputs=inputs)
        sync_tree(waiting[name])

    for stage_name in STAGES:
        stage = load_stage(stage_name)
        if "decisions" in before and "decisions" not in after and "decisions" in stage.ins:
            write("decisions", before["decisions"].run_key)
        outs = [out for out in stage.outs if out in before]
        params = stage_params(work, stage_name)
        if stage.is_batched and outs and all(artifact in after for artifact in stage.ins):
            old = batch_keys(stage, params, {name: before[name] for name in stage.ins}, {})
            new = batch_keys(stage, params, {name: after[name] for name in stage.ins}, {})
            for out in outs:
                _restamp(waiting[out], old, new)
        for out in outs:
            key, inputs = before[out].run_key, dict(before[out].inputs)
            try:
                if run_key_of(stage, params, dict(inputs)) == key:
                    moved = {source: _now(digest, before, after) for source, digest in inputs.items()}
                    key = run_key_of(stage, params, dict(moved))
            except FaceloopError:
                pass  # what its params point at is not at hand: the stage runs again, and gives the same
            write(out, key)
    if "decisions" in before and "decisions" not in after:
        write("decisions", before["decisions"].run_key)


def _restamp(waiting: Path, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for path in sorted(waiting.glob(f"*/{BATCH_FILE}")):
        body, batch = json.loads(path.read_text(encoding="utf-8")), path.parent.name
        if body.get("key") == old.get(batch) and batch in new:
            path.write_text(canonical_json({**body, "key": new[batch]}) + "\n", encoding="utf-8")


def _now(digest: str, before: Mapping[str, Manifest], after: Mapping[str, Manifest]) -> str:
    return next((after[name].digest for name in after if before[name].digest == digest), digest)


def _replace(work: Workspace, folder: Path, ring: KeyRing) -> None:
    """One published folder that is no artifact: a copy of a release, a report, a hard set."""
    was = read_manifest(folder)
    if was is None:
        return
    waiting = work.root / HOME / _WAITING / "one"
    _sealed_copy(folder, waiting, ring)
    write_manifest(waiting, stage=was.stage, run_key=was.run_key, counts=was.counts, inputs=was.inputs)
    sync_tree(waiting)
    put_in_place(waiting, folder)
    shutil.rmtree(work.root / HOME, ignore_errors=True)


def _sealed_copy(live: Path, waiting: Path, ring: KeyRing) -> None:
    """A folder once more, sealed; its manifest still to be written. What does not change is shared, never written."""
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    for path in _files(live):
        to = waiting / path.relative_to(live)
        to.parent.mkdir(parents=True, exist_ok=True)
        record = plain_record(pq.read_schema(path)) if path.suffix == ".parquet" else None
        if path.name == CROPS_FILE and has_plain_crops(path):
            seal_crops(path, to, ring)
        elif record is not None:
            _seal_table(path, to, record)
        elif _is_sheet(path, live):
            continue  # `faceloop run evaluate --again` writes the page without them
        elif _has_faces(path):
            to.write_text(_PICTURE.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")
        elif path.name == BATCH_FILE:
            shutil.copyfile(path, to)
        else:
            _link(path, to)
    if (waiting / "samples.parquet").is_file() and any(waiting.glob(f"*/{INDEX}")) and has_plain_samples(waiting):
        seal_samples(waiting, ring)


def _has_plain(folder: Path) -> bool:
    if (folder / "samples.parquet").is_file() and any(folder.glob(f"*/{INDEX}")) and has_plain_samples(folder):
        return True
    return any(
        (path.name == CROPS_FILE and has_plain_crops(path))
        or (path.suffix == ".parquet" and plain_record(pq.read_schema(path)) is not None)
        or _is_sheet(path, folder)
        or _has_faces(path)
        for path in _files(folder)
    )


def _is_sheet(path: Path, folder: Path) -> bool:
    """Whether a file of an evaluation shows faces that its root would leave out: a sheet, or the page of sheets."""
    if not is_without_pictures(path):
        return False
    return path.name in _SHEETS or (
        path == folder / _PAGE and any(any(folder.glob(f"pictures/*/{name}")) for name in _SHEETS)
    )


def _has_faces(path: Path) -> bool:
    """Whether a page holds pictures that its root would leave out."""
    if path.suffix != ".html" or not is_without_pictures(path):
        return False
    return _PICTURE.search(path.read_text(encoding="utf-8")) is not None


def _seal_table(path: Path, to: Path, record: type[Record]) -> None:
    write_table(to, record, read_table(path.parent, path.stem, record))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST]


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without links
        shutil.copyfile(path, to)

"""The steps of an erasure that take bytes away: each may be cut off anywhere and done again."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from faceloop.batches import batch_keys
from faceloop.erasure.filtering import filtered_copy, remanifest, restamp
from faceloop.erasure.needles import Needles, search
from faceloop.erasure.planning import ERASURES, Plan
from faceloop.erasure.probe_papers import drop_probes_showing
from faceloop.export.gallery_denials import forget_faces
from faceloop.export.gallery_shelf import CURRENT, GALLERIES, history_of
from faceloop.restriction.papers import RESTRICTIONS
from faceloop.runner import Workspace, stage_params
from faceloop.stage import STAGES, load_stage
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange, pending_exchange
from facestore.ids import JsonValue, media_key
from facestore.keymarker import MARKER, keys_url, read_marker
from facestore.keys import open_keyring
from facestore.objects import open_store
from facestore.publish import MANIFEST, Manifest, read_manifest, recover
from facestore.releasechanges import add_tombstones
from facestore.rowpurge import compact, purge_rows
from facestore.shardindex import INDEX

SWAP, WAITING, ASIDE = "swap.json", "waiting", "aside"
_KEPT = ("release",)  # changed by its own door
_LEFT = re.compile(r".+\.(partial|old)|\..+\.t\d+\..+|\..+\.changed")


def shred_keys(work: Workspace, plan: Plan) -> JsonValue:
    """Where the root is encrypted: from here on no copy of a crop or vector can be read, wherever it is."""
    ring = open_keyring(work.root)
    if ring is None:
        return {"encrypted": False}
    try:
        shredded = ring.shred([*plan.face_ids, *plan.tracklet_ids, *plan.mixed_tracklet_ids])
        ring.purge()
    finally:
        ring.close()
    is_file = keys_url(work.root, read_marker(work.root), os.environ).startswith("sqlite")
    then = (
        {}
        if is_file
        else {"then": "the write-ahead log, replicas and backups of the key store's server: its own rules"}
    )
    return {"encrypted": True, "keys": shredded, **then}


_BUCKET = "replicas of the bucket, its access logs and its provider's backups, by their own rules"


def remove_media(work: Workspace, plan: Plan, *, also_source: bool) -> JsonValue:
    """Objects, in a bucket with all their versions; what the source holds is the user's own, unless they say so."""
    store = open_store(work.external("objects"), may_link=False)
    footage = [*plan.footage_ids, *plan.shared_footage_ids]
    store.remove([media_key(footage_id) for footage_id in footage])
    source = work.external("source")
    removed = 0
    if also_source and "://" not in source:
        for location in plan.locations:
            path = Path(source) / location
            removed += path.is_file()
            path.unlink(missing_ok=True)
    return {
        "objects": len(footage),
        "of_others_too": len(plan.shared_footage_ids),
        "source_files_removed": removed,
        "source_files_left": len(plan.locations) - removed,
        **({"then": _BUCKET} if work.external("objects").startswith("s3://") else {}),
    }


def exchange_artifacts(work: Workspace, plan: Plan) -> JsonValue:
    """Every artifact without the subject's rows and pictures, all put in place together."""
    home = work.root / ERASURES / plan.erasure_id
    journal = home / SWAP
    gone: dict[str, JsonValue] = {}
    begun = pending_exchange(journal)  # by a call that was killed: it counted what goes
    if isinstance(begun, dict):
        gone = begun
    else:
        names = _artifacts(work)
        live = {name: work.path(name) for name in names}
        waiting = {name: home / WAITING / name for name in names}
        before = {name: manifest for name in names if (manifest := read_manifest(live[name])) is not None}
        for name in names:
            gone[name] = filtered_copy(live[name], waiting[name], plan)
        _stamp_all(work, live, waiting, before)
        turns = [Turn(waiting=waiting[name], live=live[name], aside=home / ASIDE / name) for name in names]
        begin_exchange(journal, turns, dict(gone))
    complete_exchange(journal)
    if (home / ASIDE).exists():
        shutil.rmtree(home / ASIDE)
    return dict(sorted(gone.items()))


def finish_exchange(work: Workspace, plan: Plan) -> None:
    """Let go of the exchange's journal, once the step is noted: until then it knows what was counted."""
    home = work.root / ERASURES / plan.erasure_id
    if (home / SWAP).exists():
        end_exchange(home / SWAP)
    shutil.rmtree(home / WAITING, ignore_errors=True)


def _artifacts(work: Workspace) -> list[str]:
    """Artifacts that are there and can be filtered, in the order in which they are made."""
    made = [out for stage in STAGES for out in load_stage(stage).outs]
    known = dict.fromkeys([*made[:1], "decisions", *made[1:]])
    found = []
    for name in known:
        recover(work.path(name))
        if name not in _KEPT and read_manifest(work.path(name)) is not None:
            found.append(name)
    return found


def _stamp_all(
    work: Workspace, live: Mapping[str, Path], waiting: Mapping[str, Path], before: Mapping[str, Manifest]
) -> None:
    after: dict[str, Manifest] = {}
    digests: dict[str, str] = {}

    def write(name: str) -> None:
        manifest = remanifest(waiting[name], live[name], digests)
        if manifest is not None:
            after[name] = manifest
            digests[before[name].digest] = manifest.digest

    if "decisions" in waiting:
        write("decisions")
    for stage in map(load_stage, STAGES):
        outs = [out for out in stage.outs if out in waiting]
        if stage.is_batched and all(artifact in before for artifact in stage.ins):
            params = stage_params(work, stage.name)
            old = batch_keys(stage, params, {name: before[name] for name in stage.ins}, {})
            new = batch_keys(stage, params, {name: after[name] for name in stage.ins}, {})
            restamp(waiting, outs, old, new)
        for out in outs:
            write(out)


def change_releases(work: Workspace, plan: Plan) -> JsonValue:
    """The published release and every copy of one under the root lose the subject's samples, physically."""
    finish_exchange(work, plan)
    _put_back(work)
    changed: dict[str, int] = {}
    for paper in sorted(work.root.rglob(MANIFEST)):
        folder = paper.parent
        if (folder / "samples.parquet").is_file() and any(folder.glob(f"*/{INDEX}")):
            place = folder.relative_to(work.root).as_posix()
            if removed := add_tombstones(folder, plan.face_ids, "erased", is_purged=True):
                changed[place] = removed
    return {"samples": dict(changed)}


def _put_back(work: Workspace) -> None:
    """A release that a kill left between its two names takes its own again: else it would go as a leftover."""
    source = Path(work.external("source"))
    for aside in sorted(work.root.rglob("*.old")):
        if (aside / MANIFEST).is_file() and not aside.is_relative_to(source):
            recover(aside.with_suffix(""))


def clear_leftovers(work: Workspace, plan: Plan) -> JsonValue:
    """What was derived and cannot be filtered, and what was left half-done: gone, made again by whoever needs it."""
    removed = 0
    removed += drop_probes_showing(work.root, plan.face_ids)
    shutil.rmtree(work.root / RESTRICTIONS / plan.subject_id, ignore_errors=True)
    for path in (work.path("report"), work.path("evaluation"), work.root / "metrics.json"):
        removed += _remove(path)
    source = Path(work.external("source"))  # may lie in the root
    for path in sorted(work.root.rglob("*")):
        is_ours = ERASURES not in path.relative_to(work.root).parts and not path.is_relative_to(source)
        if is_ours and _LEFT.fullmatch(path.name):
            removed += _remove(path)
    held = search([work.root], plan.search_for(), but_for=_not_here(work))
    for name in held.held:
        removed += _remove(_unit_of(Path(name), work.root))
    if (history := history_of(work.root)) and not (work.root / GALLERIES / history[-1]).is_dir():
        removed += _remove(work.root / GALLERIES / CURRENT)
    forget_faces(work.root / GALLERIES, plan.face_ids)
    return {"removed": removed}


def _not_here(work: Workspace) -> list[Path]:
    """Databases have doors of their own, and hold what is others' too: one that is not clean is said, never removed.
    The source is the user's own: `remove_media` takes of it what they allow.
    """
    databases = [work.ledger_url()]
    if (work.root / MARKER).is_file():
        databases.append(keys_url(work.root, read_marker(work.root), os.environ))
    files = [Path(url.removeprefix("sqlite:///") + tail) for url in databases for tail in ("", "-wal", "-shm")]
    stores = [Path(work.external(name).removeprefix("file://")) for name in ("source", "objects")]
    return [work.root / ERASURES, *stores, *files]


def _unit_of(path: Path, root: Path) -> Path:
    """What a file is part of, if that is published whole: a part that is missing would break it."""
    for folder in path.parents:
        if folder == root or not folder.is_relative_to(root):
            return path
        if (folder / MANIFEST).is_file() or (folder / "SHA256SUMS").is_file():
            return folder
    return path


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return 1
    was_there = path.exists()
    path.unlink(missing_ok=True)
    return int(was_there)


def purge_catalogue(work: Workspace, plan: Plan) -> JsonValue:
    removed = purge_rows(work.ledger_url(), plan.ids)
    then = compact(work.ledger_url())
    return {"rows": dict(removed), "then": then}


def clear_copies(needles: Needles, places: list[Path]) -> JsonValue:
    """Caches and remotes of DVC that are folders: every file that holds the subject goes, and what names such a file.

    A listing of a folder (`….dir`) and the cache of runs name their files by md5, which is the file's own path here.
    """
    held = [Path(name) for name in search(places, needles).held]
    digests = {f"{path.parent.name}{path.name}" for path in held}
    for path in held:
        path.chmod(0o600)
        path.unlink(missing_ok=True)
    listings = 0
    for path in [path for place in places for path in sorted(place.rglob("*")) if path.is_file()]:
        if (path.suffix == ".dir" or "runs" in path.parts) and _names_one(path, digests):
            path.chmod(0o600)
            path.unlink()
            listings += 1
    return {"files": len(held), "listings": listings}


def _names_one(path: Path, digests: set[str]) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return any(digest in text for digest in re.findall(r"[0-9a-f]{32}", text) if digest in digests)

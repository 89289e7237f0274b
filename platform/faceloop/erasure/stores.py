"""The steps of an erasure that take bytes away: each may be cut off anywhere and done again."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from faceloop.batches import batch_keys
from faceloop.erasure.filtering import filtered_copy, remanifest, restamp
from faceloop.erasure.needles import Needles, search
from faceloop.erasure.planning import ERASURES, Plan
from faceloop.export.gallery_shelf import CURRENT, GALLERIES, history_of
from faceloop.restriction.papers import RESTRICTIONS
from faceloop.runner import Workspace, stage_params
from faceloop.stage import STAGES, load_stage
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange
from facestore.ids import JsonValue, media_key
from facestore.keys import open_keyring
from facestore.objects import open_store
from facestore.publish import MANIFEST, Manifest, read_manifest, recover
from facestore.releasechanges import add_tombstones
from facestore.rowpurge import compact, purge_rows
from facestore.shardindex import INDEX

SWAP, WAITING, ASIDE = "swap.json", "waiting", "aside"
_KEPT = ("release",)  # changed by its own door
_LEFT = re.compile(r".+\.(partial|old)|\..+\.t\d+\..+|\..+\.changed")
DeleteTask = Callable[[int], None]


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
    return {"encrypted": True, "keys": shredded}


_BUCKET = (
    "every version of the media was removed from the bucket, which was not searched; what its replicas and unfinished "
    "uploads hold goes by its own rules (`faceloop store sweep --remove` takes back old uploads)"
)


def delete_tasks(work: Workspace, plan: Plan, delete: DeleteTask | None) -> JsonValue:
    """Tasks with their annotations, predictions and drafts go from the labelling server, by its API."""
    if not plan.tasks:
        return {"tasks": 0}
    if delete is None:
        named = ", ".join(f"{task_id} of project {project}" for project, task_id in sorted(plan.tasks))
        then = f"no labelling server was named; delete there these tasks, and pictures uploaded with them: {named}"
        return {"tasks": 0, "left": len(plan.tasks), "then": then}
    for _, task_id in plan.tasks:
        delete(task_id)
    return {"tasks": len(plan.tasks), "projects": len({project for project, _ in plan.tasks})}


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
    gone: dict[str, int] = {}
    if not journal.exists():
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
    shutil.rmtree(home / ASIDE, ignore_errors=True)
    end_exchange(journal)
    shutil.rmtree(home / WAITING, ignore_errors=True)
    return dict(sorted(gone.items()))


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
    changed: dict[str, int] = {}
    for paper in sorted(work.root.rglob(MANIFEST)):
        folder = paper.parent
        if (folder / "samples.parquet").is_file() and any(folder.glob(f"*/{INDEX}")):
            place = folder.relative_to(work.root).as_posix()
            if removed := add_tombstones(folder, plan.face_ids, "erased", is_purged=True):
                changed[place] = removed
    return {"samples": dict(changed)}


def clear_leftovers(work: Workspace, plan: Plan) -> JsonValue:
    """What was derived and cannot be filtered, and what was left half-done: gone, made again by whoever needs it."""
    removed = 0
    shutil.rmtree(work.root / RESTRICTIONS / plan.subject_id, ignore_errors=True)
    for path in (work.path("report"), work.path("evaluation"), work.root / "metrics.json"):
        removed += _remove(path)
    for path in sorted(work.root.rglob("*")):
        if _LEFT.fullmatch(path.name) and ERASURES not in path.relative_to(work.root).parts:
            removed += _remove(path)
    held = search([work.root], plan.search_for(), but_for=_not_here(work))
    for name in held.held:
        removed += _remove(_unit_of(Path(name), work.root))
    if (history := history_of(work.root)) and not (work.root / GALLERIES / history[-1]).is_dir():
        removed += _remove(work.root / GALLERIES / CURRENT)
    return {"removed": removed}


def _not_here(work: Workspace) -> list[Path]:
    """The catalogue has a door of its own; the plan goes last; encrypted crops of others lie under keys of theirs."""
    database = work.ledger_url().removeprefix("sqlite:///")
    objects = Path(work.external("objects").removeprefix("file://"))
    return [work.root / ERASURES, objects, *(Path(database + tail) for tail in ("", "-wal", "-shm"))]


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

"""Put good copies in the place of what is damaged. Nothing good is ever replaced, and nothing bad is put anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from faceloop.runner import Workspace, hold
from facestore.checks import Damage, FileCheck, ObjectCheck, file_checks, look
from facestore.copies import Copies
from facestore.errors import DataError, LeaseHeld, StoreError
from facestore.heartbeat import HeldLease
from facestore.objectkeys import sha256_of_key
from facestore.publish import MANIFEST, read_manifest, sync_path

_WAITING = ".repaired.partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What became of one damage. `advice`: what else helps, where no good copy was found."""

    damage: Damage
    is_done: bool
    advice: str


def repair(work: Workspace, damages: Sequence[Damage], copies: Sequence[Copies]) -> list[Repair]:
    """Manifests first, since they say what their files must be. Under the lease of the stage that would make them anew.

    Raises StoreError when a store cannot be used.
    """
    done = []
    for damage in sorted(damages, key=lambda damage: damage.reason != "manifest_differs"):
        match damage.check:
            case ObjectCheck() as check:
                is_done, advice = _object(check, copies), "run ingest --again, or give the footage back to the source"
            case FileCheck() as check:
                stage = check.stage or _stage_of(work, check)
                try:
                    with hold(work, stage or "repair") as lease:
                        is_done = _file(check, copies, lease)
                    advice = f"faceloop run {stage} --again makes it" if stage else "run the stage that makes it"
                except LeaseHeld as error:
                    is_done, advice = False, str(error)
        done.append(Repair(damage=damage, is_done=is_done, advice="" if is_done else advice))
    return done


def _stage_of(work: Workspace, check: FileCheck) -> str:
    """Of a manifest that does not read: the stage whose output lies there, if any."""
    from faceloop.stage import STAGES, load_stage

    return next(
        (name for name in STAGES if any(work.path(out) == check.folder for out in load_stage(name).outs)),
        "",
    )


def _object(check: ObjectCheck, copies: Sequence[Copies]) -> bool:
    with TemporaryDirectory(prefix="faceloop-repair-") as folder:
        found = Path(folder) / "copy"
        for place in copies:
            if place.take(sha256_of_key(check.key), check.size_bytes, found):
                check.store.heal(check.key, found)
                check.store.check(check.key)
                return True
    return False


def _file(check: FileCheck, copies: Sequence[Copies], lease: HeldLease) -> bool:
    if look(check) is None:
        return True  # made whole meanwhile
    path = check.folder / check.name
    waiting = path.with_name(path.name + _WAITING)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for place in copies:
            if check.name == MANIFEST:
                is_found = place.named(f"{check.place}/{MANIFEST}", waiting) and _fits(waiting, check.folder)
            else:
                is_found = place.take(check.sha256, check.size_bytes, waiting)
            if not is_found:
                continue
            sync_path(waiting)
            with lease.fenced():
                if check.name != MANIFEST and check not in file_checks(check.folder, check.place):
                    return False  # published anew by whoever held the lease before us
                waiting.rename(path)
                sync_path(path.parent)
            return look(check) is None
    except OSError as error:
        raise StoreError(f"cannot repair {check.place}/{check.name}: {error}; make room or check the disk") from error
    finally:
        waiting.unlink(missing_ok=True)
    return False


def _fits(found: Path, folder: Path) -> bool:
    """Whether another root's manifest is the lost one: it reads, and it knows every file here by name and half of
    them by content. The others, damaged too, are repaired by what it says of them."""
    with TemporaryDirectory(prefix="faceloop-repair-") as alone:
        trial = Path(alone)
        (trial / MANIFEST).write_bytes(found.read_bytes())
        try:
            manifest = read_manifest(trial)
        except DataError:
            return False
    if manifest is None:
        return False
    here = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST and not path.name.endswith(".partial")
    }
    if not here <= set(manifest.files):
        return False
    listed = [
        FileCheck(folder=folder, place="", name=name, size_bytes=size, sha256=sha256, stage=manifest.stage)
        for name, (size, sha256) in manifest.files.items()
    ]
    good = sum(look(check) is None for check in listed)
    return good > 0 and 2 * good >= len(listed)

"""Put a release of another root in place here, every byte checked, and pin it.

With it come the tables that an evaluation reads, where the other root still has those the release was made from.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from faceloop.experiments.pin import Pin, write_pin
from faceloop.runner import Workspace, hold
from facestore.errors import ConfigError, DataError, StageError, StoreError
from facestore.heartbeat import HeldLease
from facestore.publish import MANIFEST, Manifest, partial_path, put_in_place, read_manifest, sync_tree, verify
from facestore.records import ReleaseSample
from facestore.tables import read_columns

TABLES = {"faces": "detect", "embeddings": "embed", "assignments": "identify"}  # artifact → the lease of its stage
_SHORTEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came. `tables_missing`: not there any more as the release was made from them; evaluating needs them."""

    version: str
    digest: str
    samples: int
    size_mb: float
    was_there: bool
    tables: tuple[str, ...]
    tables_missing: tuple[str, ...]


def pull_release(work: Workspace, version: str, source: str) -> Pulled:
    """Release `version` (as its manifest says, or the first digits of its digest) from a root's folder or file:// URL.

    Raises ConfigError for a source of another kind, StageError where the version is not there or this root has data
    of its own, DataError for a file that differs from its sha256, StoreError without room.
    """
    theirs = _folder_of(source)
    here = work.path("release")
    found = _release_in(theirs, work, version)
    manifest = _manifest(found)
    verify(found)
    told = Pin(version=_version_of(found), digest=manifest.digest)
    with hold(work, "pack") as lease:
        mine = read_manifest(here)
        was_there = mine is not None and mine.digest == manifest.digest
        tables, missing = _tables_to_take(work, theirs, manifest)
        for artifact in tables:
            with hold(work, TABLES[artifact]) as table_lease:
                _take(theirs / getattr(work.paths, artifact), work.path(artifact), table_lease)
        if was_there:
            verify(here)
        else:
            _take(found, here, lease)
        write_pin(work.root, told)
    size_bytes = sum(size for size, _ in manifest.files.values())
    return Pulled(
        version=told.version,
        digest=told.digest,
        samples=read_columns(here, "samples", ReleaseSample, ("face_id",)).num_rows,
        size_mb=round(size_bytes / 1e6, 3),
        was_there=was_there,
        tables=tables,
        tables_missing=missing,
    )


def _folder_of(source: str) -> Path:
    if "://" not in source:
        folder = Path(source)
    elif (parts := urlsplit(source)).scheme == "file" and parts.netloc in ("", "localhost"):
        folder = Path(unquote(parts.path))
    else:
        raise ConfigError(f"--from {source.partition('://')[0]}://…: give a folder or a file:// URL of a root")
    if not folder.is_dir():
        raise ConfigError("--from names no folder; give the root that published the release")
    return folder


def _release_in(theirs: Path, work: Workspace, version: str) -> Path:
    """The published release, or one that lies by itself in the folder that was named."""
    places = [theirs / work.paths.release, theirs]
    found = [place for place in places if (place / MANIFEST).is_file() and (place / "manifest.json").is_file()]
    if not found:
        raise StageError("there is no published release in the folder that --from names; run pack there")
    for place in found:
        digest = _manifest(place).digest
        if version == _version_of(place) or (len(version) >= _SHORTEST and digest.startswith(version)):
            return place
    raise StageError(
        f"release {version} is not there, {_version_of(found[0])} is; pack it there again, or pull that one"
    )


def _version_of(release: Path) -> str:
    try:
        return str(json.loads((release / "manifest.json").read_bytes())["release"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the release's manifest.json cannot be read ({error!r}); run pack again") from error


def _manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise StageError("the release that --from names was never published; run pack there")
    return manifest


def _tables_to_take(work: Workspace, theirs: Path, release: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(taken, missing). A root with other tables than the release was made from is refused: they would not match."""
    taken, missing = [], []
    for artifact in TABLES:
        wanted = release.inputs.get(artifact)
        mine = read_manifest(work.path(artifact))
        if mine is not None and mine.digest != wanted:
            raise StageError(
                f"this root has {artifact} of its own, which the pulled release was not made from; pull into a new root"
            )
        there = read_manifest(theirs / getattr(work.paths, artifact))
        if mine is not None:
            continue
        if wanted is None or there is None or there.digest != wanted:
            missing.append(artifact)
        else:
            taken.append(artifact)
    return tuple(taken), tuple(missing)


def _take(source: Path, target: Path, lease: HeldLease) -> None:
    """Copy an artifact, check the copy, publish it while the lease holds. Raises LeaseLost where it does not."""
    staging = partial_path(target).with_name(f".{target.name}.pulled")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for name in [*_manifest(source).files, MANIFEST]:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, staging / name)
        verify(staging)
        sync_tree(staging)
        with lease.fenced():
            put_in_place(staging, target)
    except OSError as error:
        raise StoreError(f"cannot copy the release: {error}; make room, then pull it again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)

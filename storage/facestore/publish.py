"""Artifacts: directories that are published whole or not at all.

A folder is filled out of sight; `seal` writes `_manifest.json` last (every file's size and sha256) and syncs;
`put_in_place` renames it. A crash leaves the old version, or `NAME.old`, which `recover` puts back.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import DataError, StageError, StoreError
from facestore.ids import JsonValue, canonical_json, digest_of, file_sha256

MANIFEST = "_manifest.json"
_OWN_HASH = "sha256"  # of the rest of the manifest; those of our earlier versions have none
_KEYS = {"stage", "run_key", "counts", "inputs", "files"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a published directory holds. No clock and no machine in it: equal runs give equal bytes."""

    stage: str
    run_key: str
    files: dict[str, tuple[int, str]]  # relative POSIX path → (bytes, sha256)
    counts: dict[str, JsonValue]
    inputs: dict[str, str]  # artifact → content digest it was made from

    @property
    def digest(self) -> str:
        """Content digest: names and hashes of the files, not the run that wrote them."""
        return digest_of({name: sha for name, (_, sha) in self.files.items()})


def partial_path(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _old_path(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def recover(path: Path) -> None:
    """Undo a publication that a crash cut between its two renames."""
    old = _old_path(path)
    if old.exists():
        if path.exists():
            shutil.rmtree(old)
        else:
            old.rename(path)


def refuse_foreign(path: Path) -> None:
    """Raises StageError where a folder that we did not publish stands in the way: it would be replaced."""
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise StageError(f"{path} is no artifact of ours and would be replaced; move it, or choose another root")


def sync_path(path: Path) -> None:
    """fsync one file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """A file that is there with all its text, or as it was before: also after a power cut.

    Raises StoreError when the disk fails or is full. Then it is not tried again: after an error of fsync the kernel may
    have dropped the bytes, and a second one says that all is well (Rebello et al., "Can applications recover from
    fsync failures?", 2020).
    """
    waiting = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        waiting.unlink(missing_ok=True)
        with open(waiting, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text)
        sync_path(waiting)
        waiting.replace(path)
        sync_path(path.parent)
    except OSError as error:
        with suppress(OSError):
            waiting.unlink()
        raise StoreError(f"cannot write {path}: {error}; make room or check the disk, then run again") from error


def sync_tree(directory: Path) -> None:
    """fsync every file and folder below `directory`, itself last."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            sync_path(Path(folder, name))
        sync_path(Path(folder))


def write_manifest(
    directory: Path, *, stage: str, run_key: str, counts: dict[str, JsonValue], inputs: Mapping[str, str]
) -> Manifest:
    """Hash what lies in `directory` and write its manifest, synced, by rename."""
    waiting = directory / (MANIFEST + ".partial")
    waiting.unlink(missing_ok=True)  # of a run that was killed here: no file of the artifact
    files = {
        path.relative_to(directory).as_posix(): (path.stat().st_size, file_sha256(path))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).as_posix() != MANIFEST
    }
    manifest = Manifest(stage=stage, run_key=run_key, files=files, counts=counts, inputs=dict(inputs))
    body: dict[str, JsonValue] = {
        "stage": stage,
        "run_key": run_key,
        "counts": counts,
        "inputs": dict(inputs),
        "files": {name: {"bytes": size, "sha256": sha} for name, (size, sha) in files.items()},
    }
    waiting.write_text(canonical_json({**body, _OWN_HASH: digest_of(body)}) + "\n", encoding="utf-8")
    sync_path(waiting)
    waiting.rename(directory / MANIFEST)
    sync_path(directory)
    return manifest


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest of a published directory, or None where there is none.

    Raises DataError when it cannot be parsed, or is not as it was written.
    """
    path = directory / MANIFEST
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        own_hash = body.pop(_OWN_HASH, None)
        if set(body) != _KEYS or (own_hash is not None and own_hash != digest_of(body)):
            raise ValueError("it does not match its own sha256")
        files = {name: (entry["bytes"], entry["sha256"]) for name, entry in body["files"].items()}
        if not all(map(_stays_inside, files)):
            raise ValueError("it names a file outside of its folder")
        return Manifest(
            stage=body["stage"], run_key=body["run_key"], files=files, counts=body["counts"], inputs=body["inputs"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a manifest ({error}); remove the folder and run the stage again") from error


def _stays_inside(name: str) -> bool:
    """Whether a manifest's name of a file leads below its folder: another root's manifest is copied by it."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(parts)


def is_intact(directory: Path, manifest: Manifest) -> bool:
    """Whether every file is there with its size. Hashes are checked by `verify`."""
    return all(
        (path := directory / name).is_file() and path.stat().st_size == size
        for name, (size, _) in manifest.files.items()
    )


def verify(directory: Path) -> None:
    """Check every file's sha256 against the manifest; raises DataError at the first that differs."""
    manifest = read_manifest(directory)
    if manifest is None:
        raise DataError(f"{directory} was never published; run the stage that makes it")
    for name, (_, expected) in manifest.files.items():
        found = file_sha256(directory / name) if (directory / name).is_file() else "missing"
        if found != expected:
            raise DataError(f"{directory / name}: sha256 {found}, manifest says {expected}; run {manifest.stage} again")


def fresh_partial(path: Path, *, keep: bool) -> Path:
    """The staging directory of an artifact; emptied unless `keep` (batches that a killed run finished)."""
    staging = partial_path(path)
    if staging.exists() and not keep:
        shutil.rmtree(staging)
    staging.mkdir(parents=True, exist_ok=True)
    return staging


def seal(
    staging: Path, *, stage: str, run_key: str, counts: dict[str, JsonValue], inputs: Mapping[str, str]
) -> Manifest:
    """Make a filled folder ready to be published: hashed, its manifest written, all of it synced.

    Raises StoreError when the disk fails: the folder is gone then, and no fsync is tried again.
    """
    if not staging.is_dir():
        raise StageError(f"{stage}: nothing staged at {staging}")
    try:
        manifest = write_manifest(staging, stage=stage, run_key=run_key, counts=counts, inputs=inputs)
        sync_tree(staging)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise StoreError(f"{stage}: cannot publish: {error}; make room or check the disk, then run again") from error
    return manifest


def put_in_place(sealed: Path, path: Path, *, aside: Callable[[Path], None] | None = None) -> None:
    """Rename a sealed folder to where readers look. The earlier version stays readable until then;
    `aside` takes it away.

    Quick, so that it fits inside `Leases.fenced`. Should a holder who lost that turn unnoticed come late, its sealed
    folder was swept: then nothing is replaced, and OSError is raised.
    """
    recover(path)
    refuse_foreign(path)
    old = _old_path(path)
    if not (sealed / MANIFEST).is_file():
        raise FileNotFoundError(f"{sealed} was taken away before it was published; run the stage again")
    if path.exists():
        path.rename(old)
    try:
        sealed.rename(path)
    except OSError:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    try:
        sync_path(path.parent)
    except OSError as error:  # whoever asks next finds the new version or the old one, both whole
        raise StoreError(f"cannot keep the names in {path.parent}: {error}; check the disk, then run again") from error
    if old.exists():
        (aside or shutil.rmtree)(old)


def publish(
    path: Path, *, stage: str, run_key: str, counts: dict[str, JsonValue], inputs: Mapping[str, str]
) -> Manifest:
    """Make the staged directory the published one; for one who is alone. Others seal, then put in place, fenced."""
    staging = partial_path(path)
    manifest = seal(staging, stage=stage, run_key=run_key, counts=counts, inputs=inputs)
    put_in_place(staging, path)
    return manifest

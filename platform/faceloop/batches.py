"""Batches of a stage: only those whose inputs changed are run; the others are taken from where they are whole."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from faceloop.params import StageParams
from faceloop.stage import Context, Report, Stage
from facestore.errors import StageError
from facestore.ids import JsonValue, canonical_json, digest_of, file_sha256
from facestore.publish import Manifest, fresh_partial, read_manifest, sync_path, sync_tree

BATCH_FILE = "_batch.json"


def run_key_of(stage: Stage, params: StageParams, inputs: dict[str, JsonValue]) -> str:
    """Names a run by all that its result depends on. `inputs` maps artifact names to digests, or to file digests."""
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "params": params.model_dump(mode="json"),
            "points_at": stage.fingerprint(params),
            "inputs": inputs,
        }
    )


def run_batches(
    stage: Stage,
    params: StageParams,
    context: Context,
    *,
    inputs: Mapping[str, Manifest],
    ins: Mapping[str, Path],
    outs: Mapping[str, Path],
    only: str | None,
    again: bool,
) -> Report:
    """Fill the staging folders of `outs`, or just batch `only`.

    Batches that are there for the same key are kept, unless `again`.

    Raises StageError for an unknown batch or an item that was lost.
    """
    keys = _batch_keys(stage, params, inputs)
    if only is not None and only not in keys:
        raise StageError(f"{stage.name} has no batch {only!r}; batches are {', '.join(sorted(keys)) or 'none'}")
    stagings = {out: fresh_partial(path, keep=True) for out, path in outs.items()}
    for staging in stagings.values():
        for leftover in staging.iterdir():
            if leftover.name not in keys:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    total = Report()
    for batch in context.progress.track([only] if only else sorted(keys), stage.name):
        done = None if again else _finished(stagings, batch, keys[batch])
        if done is None and not again and _take_over(outs, stagings, batch, keys[batch]):
            done = _finished(stagings, batch, keys[batch])
        if done is None:
            done = _run_batch(stage, params, context, ins, stagings, batch, keys[batch])
        total.add(done)
    if only is None and stage.finish is not None:
        total.add(stage.finish(**stagings, params=params, context=context))
    return total


def _batch_keys(stage: Stage, params: StageParams, inputs: Mapping[str, Manifest]) -> dict[str, str]:
    names = {name.partition("/")[0] for manifest in inputs.values() for name in manifest.files if "/" in name}
    keys = {}
    for batch in names:
        digests: dict[str, JsonValue] = {
            artifact: {name: sha for name, (_, sha) in manifest.files.items() if name.startswith(f"{batch}/")}
            for artifact, manifest in inputs.items()
        }
        keys[batch] = run_key_of(stage, params, digests)
    return keys


def _finished(folders: Mapping[str, Path], batch: str, key: str) -> Report | None:
    report = None
    for folder in folders.values():
        path = folder / batch / BATCH_FILE
        body = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if body.get("key") != key:
            return None
        report = Report.from_counts(body["counts"])
    return report


def _take_over(outs: Mapping[str, Path], stagings: Mapping[str, Path], batch: str, key: str) -> bool:
    """Hard-link a batch that the published version already has, whole and unspoiled, for the same inputs."""
    if not all(_is_whole(path, batch) for path in outs.values()) or _finished(outs, batch, key) is None:
        return False
    for out, staging in stagings.items():
        shutil.rmtree(staging / batch, ignore_errors=True)
        shutil.copytree(outs[out] / batch, staging / batch, copy_function=os.link)
    return True


def _is_whole(published: Path, batch: str) -> bool:
    """Whether the files of a batch are those of the manifest, hash for hash: damage must not be published again."""
    manifest = read_manifest(published)
    files = manifest.files if manifest is not None else {}
    listed = {name: sha for name, (_, sha) in files.items() if name.startswith(f"{batch}/")}
    return f"{batch}/{BATCH_FILE}" in listed and all(
        (published / name).is_file() and file_sha256(published / name) == sha for name, sha in listed.items()
    )


def _run_batch(
    stage: Stage,
    params: StageParams,
    context: Context,
    ins: Mapping[str, Path],
    stagings: Mapping[str, Path],
    batch: str,
    key: str,
) -> Report:
    for staging in stagings.values():
        shutil.rmtree(staging / batch, ignore_errors=True)
        (staging / batch).mkdir()
    arguments = {artifact: path / batch for artifact, path in ins.items()}
    arguments |= {out: staging / batch for out, staging in stagings.items()}
    report: Report = stage.run(**arguments, params=params, context=context)
    report.check(f"{stage.name} {batch}")
    body = canonical_json({"key": key, "counts": report.counts()}) + "\n"
    for staging in stagings.values():
        sync_tree(staging / batch)
        _write_whole(staging / batch / BATCH_FILE, body)
    return report


def _write_whole(path: Path, text: str) -> None:
    """A file that is there with all its text, or not at all: it says that the batch beside it is finished."""
    waiting = path.with_name(path.name + ".partial")
    waiting.write_text(text, encoding="utf-8")
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)

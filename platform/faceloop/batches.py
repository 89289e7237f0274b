"""Batches of a stage: only those whose inputs changed are run; the others are taken from where they are whole.

Finished batches wait in `NAME.partial`, the shelf, for the run that publishes them. One is made in a work area and put
on the shelf whole, fenced.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.consent_gate import KEY as CONSENT_KEY
from faceloop.params import StageParams
from faceloop.stage import Context, Report, Stage
from facestore.heartbeat import HeldLease
from facestore.ids import JsonValue, canonical_json, digest_of, file_sha256
from facestore.publish import Manifest, partial_path, read_manifest, sync_path, sync_tree
from facestore.workareas import WorkArea

BATCH_FILE = "_batch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where a run of a batched stage takes from and puts to: paths by artifact, work areas by output."""

    ins: Mapping[str, Path]
    outs: Mapping[str, Path]
    areas: Mapping[str, WorkArea]
    lease: HeldLease

    @property
    def shelves(self) -> dict[str, Path]:
        return {out: partial_path(path) for out, path in self.outs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBatch:
    """A batch that need not be run: what it came to, and the folders that hold its outputs."""

    report: Report
    folders: Mapping[str, Path]
    is_published: bool  # else it waits on the shelf


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


def batch_names(inputs: Mapping[str, Manifest]) -> set[str]:
    """Batches that the inputs consist of."""
    return {name.partition("/")[0] for manifest in inputs.values() for name in manifest.files if "/" in name}


def batch_keys(
    stage: Stage, params: StageParams, inputs: Mapping[str, Manifest], consents: Mapping[str, str]
) -> dict[str, str]:
    """The run key of every batch, by name. `consents`: batch → digest of what they withhold of it."""
    keys = {}
    for batch in sorted(batch_names(inputs)):
        digests: dict[str, JsonValue] = {
            artifact: {name: sha for name, (_, sha) in manifest.files.items() if name.startswith(f"{batch}/")}
            for artifact, manifest in inputs.items()
        }
        if batch in consents:
            digests[CONSENT_KEY] = consents[batch]
        keys[batch] = run_key_of(stage, params, digests)
    return keys


def find_finished(outs: Mapping[str, Path], batch: str, key: str) -> FinishedBatch | None:
    """A batch that is there for the same key, on the shelf or published and unspoiled; None where it must be run."""
    shelves = {out: partial_path(path) for out, path in outs.items()}
    if (report := _marked(shelves, batch, key)) is not None:
        return FinishedBatch(report=report, folders=_of(shelves, batch), is_published=False)
    if (report := _marked(outs, batch, key)) is not None and all(_is_whole(path, batch) for path in outs.values()):
        return FinishedBatch(report=report, folders=_of(outs, batch), is_published=True)
    return None


def run_batch(
    stage: Stage, params: StageParams, context: Context, bench: Bench, batch: str, key: str, *, again: bool
) -> FinishedBatch:
    """One batch: as it is there for the same key, unless `again`, or run and put on the shelf.

    Raises StageError when an item was lost, LeaseLost when another run took over.
    """
    bench.lease.check()
    if not again and (found := find_finished(bench.outs, batch, key)) is not None:
        return found
    made = {out: area.make(f"batches/{batch}") for out, area in bench.areas.items()}
    arguments = {artifact: path / batch for artifact, path in bench.ins.items()} | made
    report: Report = stage.run(**arguments, params=params, context=context)
    report.check(f"{stage.name} {batch}")
    body = canonical_json({"key": key, "counts": report.counts()}) + "\n"
    for folder in made.values():
        sync_tree(folder)
        _write_whole(folder / BATCH_FILE, body)
    with bench.lease.fenced():
        for out, shelf in bench.shelves.items():
            shelf.mkdir(exist_ok=True)
            bench.areas[out].put_aside(shelf / batch)
            made[out].rename(shelf / batch)
            sync_path(shelf)
    return FinishedBatch(report=report, folders=_of(bench.shelves, batch), is_published=False)


def run_batches(
    stage: Stage, params: StageParams, context: Context, bench: Bench, keys: Mapping[str, str], *, again: bool
) -> tuple[Report, dict[str, Path]]:
    """Every batch, then the stage's last step over all of them; the folders to publish. Raises as `run_batch` does."""
    whole = {out: area.make("whole") for out, area in bench.areas.items()}
    total = Report()
    for batch in context.progress.track(sorted(keys), stage.name):
        done = run_batch(stage, params, context, bench, batch, keys[batch], again=again)
        for out, folder in done.folders.items():  # hard links, which no stage writes to
            shutil.copytree(folder, whole[out] / batch, copy_function=os.link)
        total.add(done.report)
    if stage.finish is not None:
        total.add(stage.finish(**whole, params=params, context=context))
    return total, whole


def _of(folders: Mapping[str, Path], batch: str) -> dict[str, Path]:
    return {out: folder / batch for out, folder in folders.items()}


def _marked(folders: Mapping[str, Path], batch: str, key: str) -> Report | None:
    report = None
    for folder in folders.values():
        path = folder / batch / BATCH_FILE
        body = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if body.get("key") != key:
            return None
        report = Report.from_counts(body["counts"])
    return report


def _is_whole(published: Path, batch: str) -> bool:
    """Whether the files of a batch are those of the manifest, hash for hash: damage must not be published again."""
    manifest = read_manifest(published)
    files = manifest.files if manifest is not None else {}
    listed = {name: sha for name, (_, sha) in files.items() if name.startswith(f"{batch}/")}
    return f"{batch}/{BATCH_FILE}" in listed and all(
        (published / name).is_file() and file_sha256(published / name) == sha for name, sha in listed.items()
    )


def _write_whole(path: Path, text: str) -> None:
    """A file that is there with all its text, or not at all: it says that the batch beside it is finished."""
    waiting = path.with_name(path.name + ".partial")
    waiting.write_text(text, encoding="utf-8")
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)

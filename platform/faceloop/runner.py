"""How a stage runs, whoever calls it: keyed, staged, accounted, published whole, recorded in the ledger."""

import fcntl
import json
import os
import resource
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faceloop.params import Paths, StageParams, Tree, section
from faceloop.progress import ProgressReporter
from faceloop.stage import STAGES, Context, Report, Stage, Stopwatch, load_stage
from facestore.errors import ConfigError, StageError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.ledger import Ledger, StageRun
from facestore.objects import open_store
from facestore.publish import (
    Manifest,
    fresh_partial,
    is_intact,
    partial_path,
    publish,
    read_manifest,
    recover,
    sync_tree,
)
from facestore.sources import open_source

BATCH_FILE = "_batch.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One root with its params, ready to run stages. `tree` is the parsed params file."""

    root: Path
    tree: Tree
    paths: Paths
    threads: int
    progress: ProgressReporter

    def path(self, artifact: str) -> Path:
        return self.root / str(getattr(self.paths, artifact))

    def external(self, name: str) -> str:
        """A source as a URL or an absolute path."""
        value = str(getattr(self.paths, name))
        return value if "://" in value else str(self.root / value)

    def ledger_url(self) -> str:
        return self.paths.ledger if "://" in self.paths.ledger else f"sqlite:///{self.root / self.paths.ledger}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What running a stage came to."""

    stage: str
    run_key: str
    report: Report
    was_published_before: bool
    is_published: bool  # False after a run of one batch


def open_workspace(root: Path | None, tree: Tree, *, threads: int, progress: ProgressReporter) -> Workspace:
    """Check every section of the params first: a wrong key stops the work before it starts (ConfigError)."""
    for name in STAGES:
        section(tree, name, load_stage(name).params)
    known = {"root", "paths", *STAGES}
    if unknown := sorted(set(tree) - known):
        raise ConfigError(f"params have unknown sections {unknown}; known are {sorted(known)}")
    paths = section(tree, "paths", Paths)
    return Workspace(root=root or Path(str(tree["root"])), tree=tree, paths=paths, threads=threads, progress=progress)


def run_stage(work: Workspace, name: str, *, batch: str | None = None) -> Outcome:
    """Run one stage, or one batch of a batched stage (staged, and published by the run without `batch`).

    Raises StageError when an input is missing or mixed, another process runs the stage, or an item was lost.
    """
    stage = load_stage(name)
    params = section(work.tree, name, stage.params)
    work.root.mkdir(parents=True, exist_ok=True)
    with _only_one(work.root, name if batch is None else f"{name}.{batch}"):
        for out in stage.outs:
            recover(work.path(out))
        inputs = {artifact: _input_manifest(work, stage, artifact) for artifact in stage.ins}
        _refuse_mixed_runs(stage, inputs)
        digests: dict[str, JsonValue] = {artifact: manifest.digest for artifact, manifest in inputs.items()}
        digests |= {external: _source_digest(work.external(external)) for external in stage.externals}
        run_key = _key(stage, params, digests)
        if (before := _published(work, stage, run_key)) is not None:
            return Outcome(stage=name, run_key=run_key, report=before, was_published_before=True, is_published=True)
        return _run_and_publish(work, stage, params, inputs, digests, run_key, batch)


def _run_and_publish(
    work: Workspace,
    stage: Stage,
    params: StageParams,
    inputs: Mapping[str, Manifest],
    digests: dict[str, JsonValue],
    run_key: str,
    batch: str | None,
) -> Outcome:
    started = time.perf_counter()
    context = Context(
        objects=open_store(work.external("objects"), may_link=bool(getattr(params, "link_media", False))),
        progress=work.progress,
        stopwatch=Stopwatch(),
        threads=work.threads,
        run_key=run_key,
        previous={out: work.path(out) if read_manifest(work.path(out)) else None for out in stage.outs},
    )
    if stage.is_batched:
        report, is_whole = _run_batches(work, stage, params, inputs, context, batch)
    elif batch is not None:
        raise StageError(f"{stage.name} has no batches; run it without --batch")
    else:
        arguments = {artifact: work.path(artifact) for artifact in stage.ins}
        arguments |= {out: fresh_partial(work.path(out), keep=False) for out in stage.outs}
        externals = {external: work.external(external) for external in stage.externals}
        report, is_whole = stage.run(**externals, **arguments, params=params, context=context), True
    report.check(stage.name)
    if not is_whole:
        return Outcome(stage=stage.name, run_key=run_key, report=report, was_published_before=False, is_published=False)
    outputs: dict[str, JsonValue] = {}
    for out in stage.outs:
        manifest = publish(work.path(out), stage=stage.name, run_key=run_key, counts=report.counts())
        outputs[out] = manifest.digest
    _record(work, stage, params, digests, outputs, run_key, report, context.stopwatch, started)
    return Outcome(stage=stage.name, run_key=run_key, report=report, was_published_before=False, is_published=True)


def _record(
    work: Workspace,
    stage: Stage,
    params: StageParams,
    inputs: dict[str, JsonValue],
    outputs: dict[str, JsonValue],
    run_key: str,
    report: Report,
    stopwatch: Stopwatch,
    started: float,
) -> None:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    timings: JsonValue = {
        **{what: round(float(seconds), 3) for what, seconds in sorted(stopwatch.seconds.items())},
        "peak_memory_mb": round(peak_mb),
    }
    ledger = Ledger(work.ledger_url())
    try:
        ledger.record(
            StageRun(
                run_key=run_key,
                stage=stage.name,
                params=params.model_dump(mode="json"),
                inputs=inputs,
                outputs=outputs,
                counts=report.counts(),
                timings=timings,
                published_at=datetime.now(UTC),
                wall_s=round(time.perf_counter() - started, 3),
            )
        )
    finally:
        ledger.close()


def _key(stage: Stage, params: StageParams, inputs: dict[str, JsonValue]) -> str:
    return digest_of(
        {
            "stage": stage.name,
            "version": stage.version,
            "params": params.model_dump(mode="json"),
            "points_at": stage.fingerprint(params),
            "inputs": inputs,
        }
    )


def _input_manifest(work: Workspace, stage: Stage, artifact: str) -> Manifest:
    path = work.path(artifact)
    manifest = read_manifest(path)
    if manifest is None:
        raise StageError(f"{stage.name}: missing input {path}; run the stage that makes it")
    if not is_intact(path, manifest):
        raise StageError(f"{stage.name}: {path} lacks files that its manifest lists; run {manifest.stage} again")
    return manifest


def _refuse_mixed_runs(stage: Stage, inputs: Mapping[str, Manifest]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for artifact, manifest in inputs.items():
        other, run_key = seen.setdefault(manifest.stage, (artifact, manifest.run_key))
        if run_key != manifest.run_key:
            raise StageError(
                f"{stage.name}: {other} and {artifact} come from different runs of {manifest.stage} "
                f"(a publication was cut short); run {manifest.stage} again"
            )


def _source_digest(url: str) -> str:
    """Digest of a source's listing: paths, sizes, versions. The bytes themselves are hashed by ingest."""
    listing: list[JsonValue] = [[found.path, found.size_bytes, found.version] for found in open_source(url).locations()]
    return digest_of(listing)


def _published(work: Workspace, stage: Stage, run_key: str) -> Report | None:
    report = None
    for out in stage.outs:
        manifest = read_manifest(work.path(out))
        if manifest is None or manifest.run_key != run_key or not is_intact(work.path(out), manifest):
            return None
        report = Report.from_counts(manifest.counts)
    return report


def _run_batches(
    work: Workspace,
    stage: Stage,
    params: StageParams,
    inputs: Mapping[str, Manifest],
    context: Context,
    only: str | None,
) -> tuple[Report, bool]:
    """Run the batches whose inputs changed; reuse the others from the published artifact or a killed run."""
    keys = _batch_keys(stage, params, inputs)
    if only is not None and only not in keys:
        raise StageError(f"{stage.name} has no batch {only!r}; batches are {', '.join(sorted(keys)) or 'none'}")
    stagings = {out: fresh_partial(work.path(out), keep=True) for out in stage.outs}
    for staging in stagings.values():
        for leftover in staging.iterdir():
            if leftover.name not in keys:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    total = Report()
    for batch in context.progress.track([only] if only else sorted(keys), stage.name):
        done = _finished(stagings, batch, keys[batch])
        if done is None:
            _take_over(work, stage, stagings, batch, keys[batch])
            done = _finished(stagings, batch, keys[batch])
        if done is None:
            done = _run_batch(work, stage, params, context, stagings, batch, keys[batch])
        total.add(done)
    if only is None and stage.finish is not None:
        total.add(stage.finish(**stagings, params=params, context=context))
    return total, only is None


def _batch_keys(stage: Stage, params: StageParams, inputs: Mapping[str, Manifest]) -> dict[str, str]:
    names = {name.partition("/")[0] for manifest in inputs.values() for name in manifest.files if "/" in name}
    keys = {}
    for batch in names:
        digests: dict[str, JsonValue] = {
            artifact: {name: sha for name, (_, sha) in manifest.files.items() if name.startswith(f"{batch}/")}
            for artifact, manifest in inputs.items()
        }
        keys[batch] = _key(stage, params, digests)
    return keys


def _finished(stagings: Mapping[str, Path], batch: str, key: str) -> Report | None:
    report = None
    for staging in stagings.values():
        path = staging / batch / BATCH_FILE
        body = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if body.get("key") != key:
            return None
        report = Report.from_counts(body["counts"])
    return report


def _take_over(work: Workspace, stage: Stage, stagings: Mapping[str, Path], batch: str, key: str) -> None:
    """Hard-link a batch that the published version already has for the same inputs."""
    published = {out: work.path(out) for out in stage.outs}
    if _finished(published, batch, key) is not None:
        for out, staging in stagings.items():
            shutil.rmtree(staging / batch, ignore_errors=True)
            shutil.copytree(published[out] / batch, staging / batch, copy_function=os.link)


def _run_batch(
    work: Workspace,
    stage: Stage,
    params: StageParams,
    context: Context,
    stagings: Mapping[str, Path],
    batch: str,
    key: str,
) -> Report:
    for staging in stagings.values():
        shutil.rmtree(staging / batch, ignore_errors=True)
        (staging / batch).mkdir()
    arguments = {artifact: work.path(artifact) / batch for artifact in stage.ins}
    arguments |= {out: staging / batch for out, staging in stagings.items()}
    report: Report = stage.run(**arguments, params=params, context=context)
    report.check(f"{stage.name} {batch}")
    for staging in stagings.values():
        sync_tree(staging / batch)
        body = canonical_json({"key": key, "counts": report.counts()})
        (staging / batch / BATCH_FILE).write_text(body + "\n", encoding="utf-8")
    return report


@contextmanager
def _only_one(root: Path, stage: str) -> Iterator[None]:
    """One process at a time runs a stage of a root; the lock goes with the process, however it ends."""
    with (root / f".{stage}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StageError(f"{stage} is already running in {root}; wait for it to end") from error
        yield


def discard_staged(work: Workspace, stage: str) -> None:
    """Forget batches that were staged and never published."""
    for out in load_stage(stage).outs:
        shutil.rmtree(partial_path(work.path(out)), ignore_errors=True)

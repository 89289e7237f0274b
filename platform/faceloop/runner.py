"""How a stage runs, whoever calls it: keyed, staged, accounted, published whole, recorded in the ledger."""

import fcntl
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from faceloop.batches import run_batches, run_key_of
from faceloop.identity.policy import DecisionParams
from faceloop.loop_params import LoopParams
from faceloop.params import Paths, StageParams, Tree, section
from faceloop.progress import ProgressReporter
from faceloop.review_params import ReviewParams
from faceloop.stage import STAGES, Context, Report, Stage, Stopwatch, load_stage
from facestore.errors import ConfigError, StageError
from facestore.ids import JsonValue, digest_of
from facestore.ledger import Ledger, StageRun
from facestore.objects import open_store
from facestore.publish import (
    Manifest,
    fresh_partial,
    is_intact,
    publish,
    read_manifest,
    recover,
    refuse_foreign,
)
from facestore.sources import open_source

SWITCH_JOURNAL = "migration/journal.json"  # of the root; stands while a model switch exchanges artifacts


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
    section(tree, "decisions", DecisionParams)
    section(tree, "review", ReviewParams)
    section(tree, "loop", LoopParams)
    known = {"root", "paths", "decisions", "review", "loop", *STAGES}
    if unknown := sorted(str(name) for name in set(tree) - known):
        raise ConfigError(f"params have unknown sections {unknown}; known are {sorted(known)}")
    if not isinstance(tree.get("root"), str):
        raise ConfigError(f"root = {tree.get('root')!r}: must name the folder that everything lives in")
    paths = section(tree, "paths", Paths)
    work = Workspace(root=root or Path(str(tree["root"])), tree=tree, paths=paths, threads=threads, progress=progress)
    _refuse_shared_folders(work)
    return work


def _refuse_shared_folders(work: Workspace) -> None:
    """Publication replaces a whole folder: none may be, lie in or hold the source, the store or another artifact."""
    artifacts = ["decisions", *dict.fromkeys(out for name in STAGES for out in load_stage(name).outs)]
    places = {
        name: Path(work.external(name)).resolve()
        for name in Paths.model_fields
        if "://" not in getattr(work.paths, name)
    }
    for artifact in artifacts:
        for other, place in places.items():
            if other != artifact and (place.is_relative_to(places[artifact]) or places[artifact].is_relative_to(place)):
                raise ConfigError(
                    f"paths.{other} {str(place)!r} and paths.{artifact} {str(places[artifact])!r} share a folder, and "
                    "publishing an artifact replaces its folder; give them folders of their own"
                )


def run_stage(work: Workspace, name: str, *, batch: str | None = None, again: bool = False) -> Outcome:
    """Run one stage, or one batch of a batched stage (staged, and published by the run without `batch`).

    `again` runs it although it is published, for instance because the object store was lost.

    Raises StageError when an input is missing or mixed, another process runs the stage, or an item was lost.
    """
    stage = load_stage(name)
    params = section(work.tree, name, stage.params)
    if batch is not None and not stage.is_batched:
        raise StageError(f"{stage.name} has no batches; run it without --batch")
    work.root.mkdir(parents=True, exist_ok=True)
    with only_one(work.root, name, batch):
        if (work.root / SWITCH_JOURNAL).exists():
            raise StageError(f"a model switch of {work.root} was cut short; `faceloop migrate-model` completes it")
        for out in stage.outs:
            recover(work.path(out))
            refuse_foreign(work.path(out))
        inputs = {artifact: _input_manifest(work, stage, artifact) for artifact in stage.ins}
        _refuse_mixed_runs(stage, inputs)
        digests: dict[str, JsonValue] = {artifact: manifest.digest for artifact, manifest in inputs.items()}
        digests |= {external: _source_digest(work.external(external)) for external in stage.externals}
        run_key = run_key_of(stage, params, digests)
        if not again and (before := _published(work, stage, run_key)) is not None:
            _adopt(work, stage, params, digests, run_key, before)
            return Outcome(stage=name, run_key=run_key, report=before, was_published_before=True, is_published=True)
        return _run_and_publish(work, stage, params, inputs, digests, run_key, batch, again)


def _run_and_publish(
    work: Workspace,
    stage: Stage,
    params: StageParams,
    inputs: Mapping[str, Manifest],
    digests: dict[str, JsonValue],
    run_key: str,
    batch: str | None,
    again: bool,
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
        report = run_batches(
            stage,
            params,
            context,
            inputs=inputs,
            ins={artifact: work.path(artifact) for artifact in stage.ins},
            outs={out: work.path(out) for out in stage.outs},
            only=batch,
            again=again,
        )
    else:
        arguments = {artifact: work.path(artifact) for artifact in stage.ins}
        arguments |= {out: fresh_partial(work.path(out), keep=False) for out in stage.outs}
        externals = {external: work.external(external) for external in stage.externals}
        report = stage.run(**externals, **arguments, params=params, context=context)
    report.check(stage.name)
    if batch is not None:
        return Outcome(stage=stage.name, run_key=run_key, report=report, was_published_before=False, is_published=False)
    outputs: dict[str, JsonValue] = {}
    for out in stage.outs:
        manifest = publish(
            work.path(out),
            stage=stage.name,
            run_key=run_key,
            counts=report.counts(),
            inputs={artifact: found.digest for artifact, found in inputs.items()},
        )
        outputs[out] = manifest.digest
    run = _stage_run(stage, params, digests, outputs, run_key, report, context.stopwatch, started)
    ledger = Ledger(work.ledger_url())
    try:
        ledger.record(run)
    finally:
        ledger.close()
    return Outcome(stage=stage.name, run_key=run_key, report=report, was_published_before=False, is_published=True)


def _adopt(
    work: Workspace, stage: Stage, params: StageParams, inputs: dict[str, JsonValue], run_key: str, report: Report
) -> None:
    """Write the ledger's line of a run that was killed after its publication; its timings are lost."""
    ledger = Ledger(work.ledger_url())
    try:
        if ledger.find(run_key) is None:
            manifests = {out: read_manifest(work.path(out)) for out in stage.outs}
            outputs: dict[str, JsonValue] = {out: found.digest for out, found in manifests.items() if found}
            started = time.perf_counter()
            ledger.record(_stage_run(stage, params, inputs, outputs, run_key, report, Stopwatch(), started))
    finally:
        ledger.close()


def _stage_run(
    stage: Stage,
    params: StageParams,
    inputs: dict[str, JsonValue],
    outputs: dict[str, JsonValue],
    run_key: str,
    report: Report,
    stopwatch: Stopwatch,
    started: float,
) -> StageRun:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    timings: JsonValue = {
        **{what: round(float(seconds), 3) for what, seconds in sorted(stopwatch.seconds.items())},
        "peak_memory_mb": round(peak_mb),
    }
    return StageRun(
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


def _input_manifest(work: Workspace, stage: Stage, artifact: str) -> Manifest:
    path = work.path(artifact)
    manifest = read_manifest(path)
    if manifest is None:
        maker = "`faceloop decisions export`" if artifact == "decisions" else "the stage that makes it"
        raise StageError(f"{stage.name}: missing input {path}; run {maker}")
    if not is_intact(path, manifest):
        raise StageError(f"{stage.name}: {path} lacks files that its manifest lists; run {manifest.stage} again")
    return manifest


def _refuse_mixed_runs(stage: Stage, inputs: Mapping[str, Manifest]) -> None:
    """Inputs must belong together: of one run where one stage made them, and each made from the others as they are."""
    seen: dict[str, tuple[str, str]] = {}
    for artifact, manifest in inputs.items():
        other, run_key = seen.setdefault(manifest.stage, (artifact, manifest.run_key))
        if run_key != manifest.run_key:
            raise StageError(
                f"{stage.name}: {other} and {artifact} come from different runs of {manifest.stage} "
                f"(a publication was cut short); run {manifest.stage} again"
            )
        for source, digest in manifest.inputs.items():
            if source in inputs and inputs[source].digest != digest:
                raise StageError(
                    f"{stage.name}: {artifact} was made from another version of {source}; run {manifest.stage} again"
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


@contextmanager
def only_one(root: Path, stage: str, batch: str | None) -> Iterator[None]:
    """One process at a time runs a stage of a root, or one each of its batches while none runs the whole.

    The locks go with the process, however it ends.
    """
    if batch is not None and Path(batch).name != batch:
        raise StageError(f"{stage} has no batch {batch!r}")
    locks = [(f".{stage}.lock", fcntl.LOCK_EX)]
    if batch is not None:
        locks = [(f".{stage}.lock", fcntl.LOCK_SH), (f".{stage}.{batch}.lock", fcntl.LOCK_EX)]
    with ExitStack() as held:
        for name, kind in locks:
            lock = held.enter_context((root / name).open("w"))
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
            except OSError as error:
                raise StageError(f"{stage} is already running in {root}; wait for it to end") from error
        yield

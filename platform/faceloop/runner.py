"""How a stage runs, whoever calls it: keyed, leased, staged, accounted, published whole, recorded in the ledger."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faceloop import consent_gate
from faceloop.batches import Bench, FinishedBatch, batch_keys, batch_names, run_batch, run_batches, run_key_of
from faceloop.identity.policy import DecisionParams
from faceloop.labelling_model import ModelPlaces, with_model_named
from faceloop.ledger_lines import adopt, ledger_line
from faceloop.loop_params import LoopParams
from faceloop.params import Paths, StageParams, Tree, section
from faceloop.progress import ProgressReporter
from faceloop.review_params import ReviewParams
from faceloop.stage import STAGES, Context, Report, Stage, Stopwatch, load_stage
from faceloop.stage_inputs import Plan, input_manifest, refuse_mixed_runs, source_digest
from faceloop.vision.allowed import ModelListParams, allow_only
from facestore.consentbasis import prove
from facestore.diskfaults import disk_faults
from facestore.errors import ConfigError, ConsentChanged, StageError
from facestore.findings import Findings, NoFindings
from facestore.heartbeat import HeldLease, held
from facestore.ids import JsonValue
from facestore.intake import known_findings
from facestore.keys import open_keyring
from facestore.ledger import record_in
from facestore.objects import open_store
from facestore.publish import (
    is_intact,
    partial_path,
    put_in_place,
    read_manifest,
    recover,
    refuse_foreign,
    seal,
)
from facestore.workareas import opened, sweep

SWITCH_JOURNAL = "migration/journal.json"  # of the root; stands while a model switch exchanges artifacts
_MOST_CHANGES = 3  # of consents under one run


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

    def model_places(self) -> ModelPlaces:
        return ModelPlaces(root=self.root, ledger_url=self.ledger_url(), embeddings=self.path("embeddings"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What running a stage came to."""

    stage: str
    run_key: str
    report: Report
    was_published_before: bool
    is_published: bool  # False after a run of batches that were staged


def open_workspace(root: Path | None, tree: Tree, *, threads: int, progress: ProgressReporter) -> Workspace:
    """Check every section of the params first: a wrong key stops the work before it starts (ConfigError)."""
    for name in STAGES:
        section(tree, name, load_stage(name).params)
    section(tree, "decisions", DecisionParams)
    section(tree, "review", ReviewParams)
    section(tree, "loop", LoopParams)
    section(tree, "consent", consent_gate.ConsentParams)
    allow_only(section(tree, "models", ModelListParams))
    known = {"root", "paths", "models", "decisions", "review", "loop", "consent", *STAGES}
    if unknown := sorted(str(name) for name in set(tree) - known):
        raise ConfigError(f"params have unknown sections {unknown}; known are {sorted(known)}")
    if not isinstance(tree.get("root"), str):
        raise ConfigError(f"root = {tree.get('root')!r}: must name the folder that everything lives in")
    paths = section(tree, "paths", Paths)
    work = Workspace(root=root or Path(str(tree["root"])), tree=tree, paths=paths, threads=threads, progress=progress)
    _refuse_shared_folders(work)
    return work


def stage_params(work: Workspace, name: str) -> StageParams:
    """A stage's section as it runs with it now: where it says `promoted` stands the model that labels.

    Raises ConfigError for a wrong key, and what `with_model_named` raises.
    """
    return section(with_model_named(work.tree, name, work.model_places()), name, load_stage(name).params)


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


def hold(work: Workspace, name: str, *, wait_s: float = 0.0) -> AbstractContextManager[HeldLease]:
    """Hold a lease of the workspace while work lasts. Names: `STAGE`, `STAGE/BATCH`, `decisions`, and others' own.

    Raises LeaseHeld when another still holds it after `wait_s`.
    """
    work.root.mkdir(parents=True, exist_ok=True)
    seconds = section(work.tree, "loop", LoopParams).lease_s
    return held(work.ledger_url(), name, seconds=seconds, wait_s=wait_s, on_wait=work.progress.say)


def run_stage(
    work: Workspace, name: str, *, batches: Sequence[str] = (), again: bool = False, wait_s: float = 0.0
) -> Outcome:
    """Run one stage, or some batches of a batched stage (staged, and published by the run without `batches`).

    `again` runs it although it is published, for instance because the object store was lost. `wait_s`: how long to
    wait, for each lease, while another run holds it.

    Raises StageError when an input is missing or mixed, or an item was lost; LeaseHeld, LeaseLost;
    StoreError when the disk is full or fails.
    """
    stage = load_stage(name)
    params = stage_params(work, name)
    open_keyring(work.root)  # a missing master key is said before any work
    if not batches:
        with disk_faults(f"run {name}"), hold(work, name, wait_s=wait_s) as lease:
            return _until_consents_hold(work, stage, params, lease, again)
    _refuse_unknown(work, stage, batches)
    report, is_published, run_key = Report(), True, ""
    for batch in work.progress.track(sorted(set(batches)), name):
        with disk_faults(f"run {name}"), hold(work, f"{name}/{batch}", wait_s=wait_s) as lease:
            run_key, done = _run_one_batch(work, stage, params, lease, batch, again)
        report.add(done.report)
        is_published = is_published and done.is_published
    return Outcome(
        stage=name, run_key=run_key, report=report, was_published_before=is_published, is_published=is_published
    )


def _until_consents_hold(work: Workspace, stage: Stage, params: StageParams, lease: HeldLease, again: bool) -> Outcome:
    """Run, and once more where consents changed meanwhile; who changes them all the time gets the error."""
    for _ in range(_MOST_CHANGES):
        try:
            return _run_whole(work, stage, params, lease, again)
        except ConsentChanged as error:
            work.progress.say(f"{stage.name}: {error}")
    return _run_whole(work, stage, params, lease, again)


def _refuse_unknown(work: Workspace, stage: Stage, batches: Sequence[str]) -> None:
    if not stage.is_batched:
        raise StageError(f"{stage.name} has no batches; run it without --batch")
    known = batch_names({artifact: input_manifest(stage, artifact, work.path(artifact)) for artifact in stage.ins})
    for batch in batches:
        if batch not in known:
            raise StageError(f"{stage.name} has no batch {batch!r}; batches are {', '.join(sorted(known)) or 'none'}")


def _plan(work: Workspace, stage: Stage, params: StageParams, lease: HeldLease) -> Plan:
    if (work.root / SWITCH_JOURNAL).exists():
        raise StageError(f"a model switch of {work.root} was cut short; `faceloop models switch` completes it")
    consent_gate.refuse_forgotten(work.ledger_url(), work.root)
    outs = {out: work.path(out) for out in stage.outs}
    material = consent_gate.material_of(stage.name, work.path)
    with lease.fenced() as session:
        basis = consent_gate.read_for(session, stage.name, material, work.tree)
        for path in outs.values():
            recover(path)
            refuse_foreign(path)
            sweep(path, lease.lease)
    inputs = {artifact: input_manifest(stage, artifact, work.path(artifact)) for artifact in stage.ins}
    refuse_mixed_runs(stage, inputs)
    consent_gate.refuse_withheld(stage.name, work.path, basis.withheld)
    digests: dict[str, JsonValue] = {artifact: manifest.digest for artifact, manifest in inputs.items()}
    digests |= {external: source_digest(work.external(external)) for external in stage.externals}
    digests.update(consent_gate.key_part(stage.name, basis) | consent_gate.source_key_part(stage.name, work.tree))
    return Plan(outs=outs, inputs=inputs, digests=digests, basis=basis, run_key=run_key_of(stage, params, digests))


def _run_one_batch(
    work: Workspace, stage: Stage, params: StageParams, lease: HeldLease, batch: str, again: bool
) -> tuple[str, FinishedBatch]:
    outs = {out: work.path(out) for out in stage.outs}
    with opened(outs, lease.lease) as areas:
        plan = _plan(work, stage, params, lease)
        keys = batch_keys(stage, params, plan.inputs, consent_gate.batch_key_parts(stage.name, plan.basis))
        if batch not in keys:
            raise StageError(f"{stage.name} has no batch {batch!r} any more; its inputs were published anew")
        context = _context(work, stage, params, plan, NoFindings())
        bench = Bench(ins=_paths(work, stage), outs=outs, areas=areas, lease=lease)
        return plan.run_key, run_batch(stage, params, context, bench, batch, keys[batch], again=again)


def _run_whole(work: Workspace, stage: Stage, params: StageParams, lease: HeldLease, again: bool) -> Outcome:
    started = time.perf_counter()
    outs = {out: work.path(out) for out in stage.outs}
    with opened(outs, lease.lease) as areas, _findings(work, stage, again) as findings:
        plan = _plan(work, stage, params, lease)
        if not again and (before := _published(stage, plan)) is not None:
            adopt(work.ledger_url(), stage, params, plan, before, lease)
            return Outcome(
                stage=stage.name, run_key=plan.run_key, report=before, was_published_before=True, is_published=True
            )
        context = _context(work, stage, params, plan, findings)
        if stage.is_batched:
            bench = Bench(ins=_paths(work, stage), outs=outs, areas=areas, lease=lease)
            keys = batch_keys(stage, params, plan.inputs, consent_gate.batch_key_parts(stage.name, plan.basis))
            report, made = run_batches(stage, params, context, bench, keys, again=again)
        else:
            made = {out: area.make("whole") for out, area in areas.items()}
            externals = {external: work.external(external) for external in stage.externals}
            report = stage.run(**externals, **_paths(work, stage), **made, params=params, context=context)
        report.check(stage.name)
        lease.check()
        outputs: dict[str, JsonValue] = {}
        inputs = {artifact: found.digest for artifact, found in plan.inputs.items()}
        inputs |= {name: str(said) for name, said in plan.digests.items() if name == consent_gate.KEY}
        for out in stage.outs:
            manifest = seal(made[out], stage=stage.name, run_key=plan.run_key, counts=report.counts(), inputs=inputs)
            outputs[out] = manifest.digest
        run = ledger_line(stage, params, plan, outputs, report, context.stopwatch, started)
        with lease.fenced() as session:
            prove(session, plan.basis)
            for out, path in outs.items():
                put_in_place(made[out], path, aside=areas[out].put_aside)
            for out, path in outs.items():  # what was staged is published now
                areas[out].put_aside(partial_path(path))
            record_in(session, run)
    return Outcome(stage=stage.name, run_key=plan.run_key, report=report, was_published_before=False, is_published=True)


def _paths(work: Workspace, stage: Stage) -> dict[str, Path]:
    return {artifact: work.path(artifact) for artifact in stage.ins}


def _findings(work: Workspace, stage: Stage, again: bool) -> AbstractContextManager[Findings]:
    """What is known of the files of the stage's source; with `again` nothing is, and all is remembered anew."""
    if not stage.externals:
        return nullcontext(NoFindings())
    return known_findings(
        work.ledger_url(),
        source=work.external(stage.externals[0]),
        objects=work.external("objects"),
        as_of_ns=time.time_ns(),
        is_trusted=not again,
    )


def _context(work: Workspace, stage: Stage, params: StageParams, plan: Plan, findings: Findings) -> Context:
    return Context(
        objects=open_store(work.external("objects"), may_link=bool(getattr(params, "link_media", False))),
        progress=work.progress,
        stopwatch=Stopwatch(),
        threads=work.threads,
        run_key=plan.run_key,
        erased=partial(consent_gate.erased_among, work.ledger_url(), work.root),
        withheld=plan.basis.withheld,
        acquisition=section(work.tree, "consent", consent_gate.ConsentParams).acquisition,
        previous={out: work.path(out) if read_manifest(work.path(out)) else None for out in stage.outs},
        findings=findings,
    )


def _published(stage: Stage, plan: Plan) -> Report | None:
    report = None
    for path in plan.outs.values():
        manifest = read_manifest(path)
        if manifest is None or manifest.run_key != plan.run_key or not is_intact(path, manifest):
            return None
        report = Report.from_counts(manifest.counts)
    return report

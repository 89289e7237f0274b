"""Where stages stand, by the runner's own keys: whether `ingest` is up to date, and which batches need work."""

from collections.abc import Sequence
from dataclasses import dataclass

from faceloop.batches import batch_keys, find_finished, run_key_of
from faceloop.consent_gate import ConsentParams, basis_for, batch_key_parts
from faceloop.params import section
from faceloop.runner import Workspace, stage_params
from faceloop.stage import load_stage
from faceloop.stage_inputs import input_manifest, refuse_mixed_runs
from facestore.errors import StageError
from facestore.findings import listing_digest
from facestore.publish import is_intact, read_manifest
from facestore.sources import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Batches of a stage: those that the coming run would work on, and how many it would take as they are."""

    due: tuple[str, ...]
    unchanged: int


def is_ingested(work: Workspace, listing: Sequence[Location]) -> bool:
    """Whether `footage` is published from this listing under these params: `run ingest` would say `unchanged`."""
    stage = load_stage("ingest")
    run_key = run_key_of(stage, section(work.tree, stage.name, stage.params), {"source": listing_digest(listing)})
    path = work.path("footage")
    manifest = read_manifest(path)
    return manifest is not None and manifest.run_key == run_key and is_intact(path, manifest)


def standing_of(work: Workspace, name: str) -> Standing:
    """Which batches a run of a batched stage would work on now; staged and published ones with the same key stand.

    Raises StageError when the stage has no batches, or its inputs are missing or mixed.
    """
    stage = load_stage(name)
    if not stage.is_batched:
        raise StageError(f"{name} has no batches to be shared out; run it whole")
    inputs = {artifact: input_manifest(stage, artifact, work.path(artifact)) for artifact in stage.ins}
    refuse_mixed_runs(stage, inputs)
    consent = section(work.tree, "consent", ConsentParams)
    basis = basis_for(name, work.path, work.ledger_url(), consent)
    keys = batch_keys(stage, stage_params(work, name), inputs, batch_key_parts(name, basis))
    outs = {out: work.path(out) for out in stage.outs}
    due = tuple(batch for batch, key in sorted(keys.items()) if find_finished(outs, batch, key) is None)
    return Standing(due=due, unchanged=len(keys) - len(due))

"""How many came in, how many came out, and what each stage took: from manifests and the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceloop.runner import Workspace
from faceloop.stage import FLOW, Report, load_stage
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun
from facestore.publish import Manifest, read_manifest

UNITS = {
    "ingest": "files",
    "detect": "detections",
    "embed": "crops",
    "cluster": "tracklets",
    "identify": "faces",
    "select": "questions",
    "pack": "crops",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    reason: str  # snake_case code
    count: int
    is_pending: bool  # waits for more, not thrown away


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFlow:
    """One published stage: items_in = published + rejected + pending."""

    stage: str
    unit: str
    items_in: int
    published: int
    rejected: int
    pending: int
    losses: tuple[Loss, ...]  # rejected first, larger first
    figures: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    what: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTiming:
    """What the run that published a stage took. `parts` end with `other`, so that they sum to `wall_s`."""

    stage: str
    wall_s: float
    parts: tuple[Spent, ...]
    peak_memory_mb: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    stages: tuple[StageFlow, ...]  # those that are published, in order
    timings: tuple[StageTiming, ...]
    missing: tuple[str, ...]  # stages that have not run
    stale: tuple[str, ...]  # stages whose inputs were published anew since


def read_flow(work: Workspace) -> Flow:
    """What the published stages of a root say about themselves.

    Raises DataError for a damaged manifest, StoreError when the ledger cannot be opened.
    """
    manifests = {out: read_manifest(work.path(out)) for stage in FLOW for out in load_stage(stage).outs}
    published = {stage: manifest for stage in FLOW if (manifest := manifests[load_stage(stage).outs[0]]) is not None}
    ledger = Ledger(work.ledger_url())
    try:
        runs = {stage: ledger.find(manifest.run_key) for stage, manifest in published.items()}
    finally:
        ledger.close()
    return Flow(
        stages=tuple(_flow(stage, Report.from_counts(found.counts)) for stage, found in published.items()),
        timings=tuple(_timing(run) for run in runs.values() if run is not None),
        missing=tuple(stage for stage in FLOW if stage not in published),
        stale=tuple(stage for stage, run in runs.items() if run is not None and _is_stale(run, manifests)),
    )


def flow_metrics(flow: Flow) -> dict[str, JsonValue]:
    """Flat: `STAGE.in`, `STAGE.rejected.REASON` … to whole numbers. No times: equal runs give equal metrics."""
    flat: dict[str, JsonValue] = {}
    for found in flow.stages:
        flat[f"{found.stage}.in"] = found.items_in
        flat[f"{found.stage}.published"] = found.published
        flat[f"{found.stage}.rejected"] = found.rejected
        flat[f"{found.stage}.pending"] = found.pending
        for loss in found.losses:
            flat[f"{found.stage}.{'pending' if loss.is_pending else 'rejected'}.{loss.reason}"] = loss.count
        for name, value in found.figures.items():
            flat[f"{found.stage}.{name}"] = value
    return flat


def _flow(stage: str, report: Report) -> StageFlow:
    def losses(counts: Mapping[str, int], *, is_pending: bool) -> list[Loss]:
        ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        return [Loss(reason=reason, count=count, is_pending=is_pending) for reason, count in ordered if count]

    return StageFlow(
        stage=stage,
        unit=UNITS[stage],
        items_in=report.items_in,
        published=report.published,
        rejected=report.rejected.total(),
        pending=report.pending.total(),
        losses=(*losses(report.rejected, is_pending=False), *losses(report.pending, is_pending=True)),
        figures=dict(sorted(report.figures.items())),
    )


def _timing(run: StageRun) -> StageTiming:
    timings = run.timings if isinstance(run.timings, dict) else {}
    numbers = {name: float(value) for name, value in timings.items() if isinstance(value, int | float)}
    peak = numbers.pop("peak_memory_mb", None)
    longest_first = sorted(numbers.items(), key=lambda entry: (-entry[1], entry[0]))
    parts = [Spent(what=what, seconds=seconds) for what, seconds in longest_first]
    rest = max(0.0, run.wall_s - sum(part.seconds for part in parts))
    return StageTiming(
        stage=run.stage,
        wall_s=run.wall_s,
        parts=(*parts, Spent(what="other", seconds=rest)),
        peak_memory_mb=None if peak is None else round(peak),
    )


def _is_stale(run: StageRun, manifests: Mapping[str, Manifest | None]) -> bool:
    """Whether an input artifact is no longer the one that this run read. Sources are not looked at."""
    inputs = run.inputs if isinstance(run.inputs, dict) else {}
    return any(
        artifact in manifests and ((now := manifests[artifact]) is None or now.digest != digest)
        for artifact, digest in inputs.items()
    )

"""The ledger's line of a run: what it read, wrote, counted and took."""

import resource
import time
from datetime import UTC, datetime

from faceloop.params import StageParams
from faceloop.stage import Report, Stage, Stopwatch
from faceloop.stage_inputs import Plan
from facestore.heartbeat import HeldLease
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun, record_in
from facestore.publish import read_manifest


def ledger_line(
    stage: Stage,
    params: StageParams,
    plan: Plan,
    outputs: dict[str, JsonValue],
    report: Report,
    stopwatch: Stopwatch,
    started: float,
) -> StageRun:
    """`outputs`: content digests by artifact; `started`: by `time.perf_counter`."""
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    timings: JsonValue = {
        **{what: round(float(seconds), 3) for what, seconds in sorted(stopwatch.seconds.items())},
        "peak_memory_mb": round(peak_mb),
    }
    return StageRun(
        run_key=plan.run_key,
        stage=stage.name,
        params=params.model_dump(mode="json"),
        inputs=plan.digests,
        outputs=outputs,
        counts=report.counts(),
        timings=timings,
        published_at=datetime.now(UTC),
        wall_s=round(time.perf_counter() - started, 3),
    )


def adopt(ledger_url: str, stage: Stage, params: StageParams, plan: Plan, report: Report, lease: HeldLease) -> None:
    """Write the line of a run that was killed after its publication; its timings are lost."""
    ledger = Ledger(ledger_url)
    try:
        is_known = ledger.find(plan.run_key) is not None
    finally:
        ledger.close()
    if is_known:
        return
    manifests = {out: read_manifest(path) for out, path in plan.outs.items()}
    outputs: dict[str, JsonValue] = {out: found.digest for out, found in manifests.items() if found}
    line = ledger_line(stage, params, plan, outputs, report, Stopwatch(), time.perf_counter())
    with lease.fenced() as session:
        record_in(session, line)

"""One command for any folder: ingest to pack, then the report. The same stages that DVC and Airflow run."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from faceloop.decision_tables import export_decisions
from faceloop.runner import Outcome, Workspace, run_stage, stage_params
from faceloop.stage import FLOW, load_stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """One stage of a flow and how long it took, wall seconds."""

    outcome: Outcome
    wall_s: float


def run_flow(work: Workspace, clock: Callable[[], float] = time.perf_counter) -> list[StageTime]:
    """Run every stage in order; what is already published for the same inputs is not run again.

    Raises what `run_stage` raises: bad footage is quarantined and never stops a flow.
    """
    for name in FLOW:
        stage = load_stage(name)
        stage.fingerprint(stage_params(work, name))  # models there, licences accepted: before work starts
    times = []
    export_decisions(work)
    for name in FLOW:
        start = clock()
        outcome = run_stage(work, name)
        times.append(StageTime(outcome=outcome, wall_s=clock() - start))
        work.progress.say(_line(times[-1]))
    return times


def _line(done: StageTime) -> str:
    report = done.outcome.report
    state = "unchanged" if done.outcome.was_published_before else f"{done.wall_s:6.1f} s"
    losses = {**report.rejected, **report.pending}
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(losses.items()))
    return f"{done.outcome.stage:9} {state:>10}  {report.items_in:6} in, {report.published:6} out" + (
        f"  ({why})" if why else ""
    )

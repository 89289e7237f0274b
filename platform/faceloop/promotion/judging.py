"""What whoever approves is shown: a release and its model in figures, and what speaks against the model."""

import json
from collections.abc import Iterator
from pathlib import Path

from faceloop.evaluation.publishing import METRICS, PAGE
from faceloop.evaluation.tables import VerificationRow
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.promotion.figures import figures_of
from faceloop.promotion.model_gate import failed_model_floors
from faceloop.promotion.model_registry import judge
from faceloop.runner import Workspace
from facestore.errors import InputsNotReady
from facestore.ids import JsonValue
from facestore.jobs import Jobs
from facestore.publish import read_manifest

_MOST_OBJECTIONS = 12  # shown; all of them are counted


def shown_for_approval(work: Workspace, jobs: Jobs) -> dict[str, JsonValue]:
    """Rows for a form: name to value. `model_passes` says whether approving promotes the model too.

    Raises StageError without a whole release, InputsNotReady where candidate or evaluation are missing or of another
    release.
    """
    release = figures_of(work, jobs)
    model_id, _, judged = judge(work)
    manifest = read_manifest(work.path("evaluation"))
    if manifest is None or manifest.inputs.get("release") != release.release:
        raise InputsNotReady("the published evaluation is of another release; run train and evaluate")
    objections = failed_model_floors(judged, section(work.tree, "loop", LoopParams).model_gate)
    return {
        "release": release.release,
        "samples": release.samples,
        "identities": release.identities,
        "purity": release.purity.share,
        "model_id": model_id,
        "model_passes": not objections,
        "approving promotes": "release and model" if not objections else "the release alone; the current model stays",
        "objections": len(objections),
        **{f"against the model {place}": text for place, text in enumerate(objections[:_MOST_OBJECTIONS], start=1)},
        **{f"TAR of {row.gold} at FAR {row.far:g}": _told_rate(row) for row in judged.rates if row.tar is not None},
        **dict(_labelling(work.path("evaluation"))),
        "page": f"{work.paths.evaluation}/{PAGE}",  # below the root; it shows faces, so that it is nowhere served
    }


def _told_rate(row: VerificationRow) -> str:
    told = f"{row.tar or 0.0:.4f}{_range(row.low, row.high)}"
    if row.gain is None:
        return told
    return f"{told}, gain {row.gain:+.4f}{_range(row.gain_low, row.gain_high, sign='+')}"


def _range(low: float | None, high: float | None, *, sign: str = "") -> str:
    return "" if low is None or high is None else f" [{low:{sign}.4f}, {high:{sign}.4f}]"


def _labelling(evaluation: Path) -> Iterator[tuple[str, JsonValue]]:
    """How well each model labels, where that was measured."""
    metrics = json.loads((evaluation / METRICS).read_text(encoding="utf-8"))
    for name in ("candidate", "current"):
        if (found := metrics.get(f"labelling.{name}.pairwise_f")) is not None:
            yield f"pairwise F of labels, {name}", found
    if (gain := metrics.get("labelling.gain.pairwise_f")) is not None:
        low, high = metrics["labelling.gain.pairwise_f.low"], metrics["labelling.gain.pairwise_f.high"]
        yield "pairwise F, gain", f"{gain:+.4f}{_range(low, high, sign='+')}"

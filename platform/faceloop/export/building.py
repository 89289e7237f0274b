"""One engine of one form: judged where it can run here, built where it cannot."""

import json
from pathlib import Path

from faceloop.export.canonical import RecogniserGraph
from faceloop.export.engines import EngineRecord, Form, State, fingerprint_of
from faceloop.export.plans import CpuPlan, GpuPlan, Plan
from faceloop.export.tensorrt_builder import build_engine
from faceloop.export.trial import Trial, Verdict
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue, canonical_json, file_sha256

ENGINE_FOLDER = "engines"
BUILT = "built.json"  # beside an engine: what its bytes are, which no fingerprint can know


def refused_engine(form: Form, plan: Plan, graph: RecogniserGraph | None, reason: str) -> EngineRecord:
    """An engine of a form that is not shipped."""
    return _record(form, plan, graph, state="refused", reason=reason, file=None)


def verified_engine(form: Form, plan: CpuPlan, graph: RecogniserGraph, *, file: str) -> EngineRecord:
    """An engine that ran here, within its form's gate."""
    return _record(form, plan, graph, state="verified", reason=None, file=file)


def try_on_cpu(
    form: Form, plan: CpuPlan, graph: RecogniserGraph, *, file: str, trial: Trial
) -> tuple[EngineRecord, Verdict | None]:
    """Run the form on a CPU engine and hold it to its gate: verified, or refused with the reason.

    An engine that does not take the graph, or that this CPU does not offer, is refused in its own words.
    """
    try:
        verdict = trial.judge(form, graph, engine=plan.target, hint=plan.hint)
    except (ConfigError, DataError) as error:
        return _record(form, plan, graph, state="refused", reason=str(error), file=None), None
    if verdict.reasons:
        return _record(form, plan, graph, state="refused", reason="; ".join(verdict.reasons), file=None), verdict
    return verified_engine(form, plan, graph, file=file), verdict


def build_for_gpu(
    form: Form, plan: GpuPlan, graph: RecogniserGraph, *, exported: Path, previous: Path | None
) -> EngineRecord:
    """Build, or take over from the export before what was built from the same; never run here, so never verified.

    Taking over keeps an export made twice equal byte by byte, which TensorRT's own builds are not.
    """
    record = _record(form, plan, graph, state="built", reason=None, file=None)
    folder = f"{ENGINE_FOLDER}/{record.fingerprint}"
    file = f"{folder}/model.plan"
    if (exported / file).is_file():  # another form came out the same
        return _record(form, plan, graph, state="built", reason=None, file=file)
    engine = None if previous is None else _built_before(previous / folder)
    if engine is None:
        try:
            engine = build_engine(plan.library, graph, plan.build)
        except DataError as error:
            return _record(form, plan, graph, state="refused", reason=str(error), file=None)
    (exported / folder).mkdir(parents=True)
    (exported / file).write_bytes(engine)
    spelled: JsonValue = {"sha256": file_sha256(exported / file), "bytes": len(engine)}
    (exported / folder / BUILT).write_text(canonical_json(spelled) + "\n", encoding="utf-8")
    return _record(form, plan, graph, state="built", reason=None, file=file)


def _built_before(folder: Path) -> bytes | None:
    """An engine whose bytes are still what was noted when it was built."""
    engine, note = folder / "model.plan", folder / BUILT
    if not engine.is_file() or not note.is_file():
        return None
    is_whole = json.loads(note.read_text(encoding="utf-8"))["sha256"] == file_sha256(engine)
    return engine.read_bytes() if is_whole else None


def _record(
    form: Form, plan: Plan, graph: RecogniserGraph | None, *, state: State, reason: str | None, file: str | None
) -> EngineRecord:
    onnx_sha256 = None if graph is None else graph.sha256
    return EngineRecord(
        fingerprint=fingerprint_of(
            onnx_sha256=onnx_sha256 or f"no {form}", target=plan.target, options=plan.options, versions=plan.versions
        ),
        form=form,
        target=plan.target,
        state=state,
        reason=reason,
        file=file,
        onnx_sha256=onnx_sha256,
        options=plan.options,
        versions=plan.versions,
    )

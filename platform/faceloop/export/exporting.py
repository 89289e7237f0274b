"""From a candidate to an export: forms, the gate, engines, and what is written down about them.

A form that fails its gate is listed with its reason, and nothing of it is shipped.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from faceloop.export.building import build_for_gpu, refused_engine, try_on_cpu, verified_engine
from faceloop.export.canonical import RecogniserGraph, canonical_graph, recogniser_of
from faceloop.export.embedding import contract_of
from faceloop.export.engines import EngineRecord, Form, write_engines
from faceloop.export.form_packs import write_form_pack
from faceloop.export.forms import Recover, make_form
from faceloop.export.params import ExportParams
from faceloop.export.plans import CpuPlan, Plan, plan_engines
from faceloop.export.probes import draw_probes, write_probes
from faceloop.export.trial import Trial, Verdict, open_trial
from faceloop.vision.recogniser import normalise
from faceloop.vision.specs import ModelPack
from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json

PARITY = "parity.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A form on a CPU engine beside float32; `parity` and reasons are in `verdict`, None where it did not run."""

    form: Form
    target: str
    hint: str
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """`shipped` forms have a pack and, on each target, an engine or a reason; `refused` ones have reasons only."""

    canonical_sha256: str
    shipped: tuple[Form, ...]
    refused: dict[Form, str]
    engines: tuple[EngineRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """Where an export reads and writes. `previous`: the export before, whose equal engines are taken over."""

    release: Path
    release_version: str
    exported: Path
    previous: Path | None


def export_candidate(
    pack: ModelPack, job: ExportJob, params: ExportParams, *, threads: int, recover: Recover | None = None
) -> Exported:
    """Write packs, engines, `engines.json`, `parity.json` and probes into the empty folder `job.exported`.

    `recover` trains the forms that `params.recovery.steps` names; without it their steps must be 0.
    Raises TargetMissing before any work where a target cannot be built here, ConfigError and ModelCorrupt for a
    candidate that is no recogniser, DataError for a release without faces to compare on.
    """
    plans = plan_engines(params)
    canonical = canonical_graph(pack)
    trial = open_trial(pack, canonical, release=job.release, params=params, threads=threads)
    compared: list[Comparison] = []
    engines: list[EngineRecord] = []
    shipped: dict[Form, RecogniserGraph] = {}
    refused: dict[Form, str] = {}
    for form in params.forms:
        graph, problem = _make(form, canonical, trial, job, recover)
        if graph is None:
            refused[form] = problem
            engines += [refused_engine(form, plan, None, f"form refused: {problem}") for plan in plans]
            continue
        gated = trial.judge(form, graph, engine="onnxruntime", hint="f32")
        compared.append(Comparison(form=form, target="onnxruntime", hint="f32", verdict=gated))
        if gated.reasons:
            refused[form] = "; ".join(gated.reasons)
            engines += [refused_engine(form, plan, graph, f"form refused: {refused[form]}") for plan in plans]
            continue
        shipped[form] = graph
        for engine, comparison in _engines(form, graph, plans, trial, job):
            engines.append(engine)
            compared += [] if comparison is None else [comparison]
    _write_papers(job, canonical, trial, compared, engines, shipped)
    return Exported(canonical_sha256=canonical.sha256, shipped=tuple(shipped), refused=refused, engines=tuple(engines))


def _make(
    form: Form, canonical: RecogniserGraph, trial: Trial, job: ExportJob, recover: Recover | None
) -> tuple[RecogniserGraph | None, str]:
    """A form, or why it cannot be made of this candidate."""
    preprocessing = recogniser_of(trial.pack).preprocessing
    try:
        made = make_form(
            form, canonical, release=job.release, preprocessing=preprocessing, params=trial.params, recover=recover
        )
        return made, ""
    except DataError as error:
        return None, str(error)


def _engines(
    form: Form, graph: RecogniserGraph, plans: list[Plan], trial: Trial, job: ExportJob
) -> Iterator[tuple[EngineRecord, Comparison | None]]:
    file = write_form_pack(job.exported, trial.pack, form, graph)
    for plan in plans:
        if isinstance(plan, CpuPlan) and plan.target == "onnxruntime":
            yield verified_engine(form, plan, graph, file=file), None  # the gate of the form ran on this very engine
        elif isinstance(plan, CpuPlan):
            engine, verdict = try_on_cpu(form, plan, graph, file=file, trial=trial)
            yield engine, Comparison(form=form, target=plan.target, hint=plan.hint, verdict=verdict)
        else:
            yield build_for_gpu(form, plan, graph, exported=job.exported, previous=job.previous), None


def _write_papers(
    job: ExportJob,
    canonical: RecogniserGraph,
    trial: Trial,
    compared: list[Comparison],
    engines: list[EngineRecord],
    shipped: dict[Form, RecogniserGraph],
) -> None:
    write_engines(job.exported, engines, candidate=canonical.sha256, release=job.release_version)
    entries: list[JsonValue] = [_as_json(item) for item in compared]
    spelled: JsonValue = {
        "release": job.release_version,
        "opset": canonical.opset,
        "faces": len(trial.faces.face_ids),
        "identities": len(set(trial.faces.identities.tolist())),
        "gates": {form: gate.model_dump(mode="json") for form, gate in trial.params.gates.items()},
        "compared": entries,
    }
    (job.exported / PARITY).write_text(canonical_json(spelled) + "\n", encoding="utf-8")
    probes = draw_probes(trial.params.probes, seed=trial.params.seed)
    contract = contract_of(canonical, recogniser_of(trial.pack).preprocessing, hint="f32")
    vectors = {
        form: trial.embed(graph, probes, engine="onnxruntime", hint="f32").vectors for form, graph in shipped.items()
    }
    write_probes(job.exported, normalise(probes, contract), vectors)


def _as_json(item: Comparison) -> JsonValue:
    return {
        "form": item.form,
        "target": item.target,
        "hint": item.hint,
        "parity": None if item.verdict is None else asdict(item.verdict.parity),
        "refused_because": [] if item.verdict is None else list(item.verdict.reasons),
    }

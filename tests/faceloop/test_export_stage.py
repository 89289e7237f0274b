"""export: a candidate becomes packs, engines and papers, and what is not on a par is listed, never shipped."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.engines import EngineRecord, read_engines
from faceloop.export.exporting import Exported, ExportJob, export_candidate
from faceloop.export.precisions import to_int8
from faceloop.export.preflight import TargetMissing, find_gpu
from faceloop.export.release_faces import read_samples
from faceloop.export.verify import main as verify
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
from faceloop.vision.arrays import Float32Array
from faceloop.vision.packs import load_pack
from facestore.errors import DataError
from facestore.publish import fresh_partial, publish
from facestore.records import ReleaseSample
from facestore.tables import write_table

from .export_world import DIMENSION, SMALL, export_params, tiny_candidate, tiny_release
from .runner_world import ROOT

LOOSE = "{cosine_mean: 0.9, cosine_p01: 0.5, cosine_min: 0.4, drift_mean: 0.2, tar_drop: 0.3, f_drop: 0.3}"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_release(tmp_path_factory.mktemp("release") / "release")


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_candidate(tmp_path_factory.mktemp("candidate") / "candidate")


def _export(candidate: Path, release: Path, exported: Path, *overrides: str, previous: Path | None = None) -> Exported:
    exported.mkdir(parents=True)
    pack = load_pack(str(candidate), accept_licence=None, insightface_root=None)
    job = ExportJob(release=release, release_version="abc", exported=exported, previous=previous)
    return export_candidate(pack, job, export_params(*overrides), threads=1)


def _state(engines: list[EngineRecord], form: str, target: str) -> str:
    return next(engine.state for engine in engines if (engine.form, engine.target) == (form, target))


def test_forms_on_cpu_targets_are_verified_and_are_packs_that_load(
    candidate: Path, release: Path, tmp_path: Path
) -> None:
    made = _export(candidate, release, tmp_path / "out", f"export.gates.int8={LOOSE}")
    assert made.shipped == ("float32", "float16", "int8")
    assert {(engine.target, engine.state) for engine in read_engines(tmp_path / "out")} == {
        ("onnxruntime", "verified"),
        ("openvino", "verified"),
    }
    for form in made.shipped:
        pack = load_pack(str(tmp_path / "out" / "packs" / form), accept_licence=None, insightface_root=None)
        assert pack.recogniser is not None
        assert pack.recogniser.embedding_dimension == DIMENSION


def test_exported_twice_it_is_equal_byte_by_byte(candidate: Path, release: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _export(candidate, release, tmp_path / name, f"export.gates.int8={LOOSE}")
    files = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*")) if path.is_file()]
    assert files
    assert [(tmp_path / "one" / file).read_bytes() for file in files] == [
        (tmp_path / "two" / file).read_bytes() for file in files
    ]


def _shuffled_scales(graph: RecogniserGraph) -> RecogniserGraph:
    model = onnx.load_model_from_string(graph.onnx_bytes)
    for tensor in model.graph.initializer:
        scale = numpy_helper.to_array(tensor)
        if tensor.name.endswith("_scale") and scale.size > 1:
            ramp = np.geomspace(0.05, 20, scale.size).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(scale[::-1] * ramp, tensor.name))
    return checked_graph(model, dimension=graph.dimension)


def _zeroed_layer(graph: RecogniserGraph) -> RecogniserGraph:
    model = onnx.load_model_from_string(graph.onnx_bytes)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("w2") and tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tensor.dims, dtype=np.int8), tensor.name))
    return checked_graph(model, dimension=graph.dimension)


@pytest.mark.parametrize("how", ["scales", "layer", "calibration"])
def test_a_broken_quantisation_is_refused_and_not_shipped(
    how: str, candidate: Path, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(graph: RecogniserGraph, batches: object, *, float_layers: int) -> RecogniserGraph:
        dark: list[Float32Array] = [np.full((4, 3, 112, 112), 0.01, dtype=np.float32)]
        given = dark if how == "calibration" else batches
        whole = to_int8(graph, given, float_layers=float_layers)  # type: ignore[arg-type]
        match how:
            case "scales":
                return _shuffled_scales(whole)
            case "layer":
                return _zeroed_layer(whole)
        return whole

    monkeypatch.setattr("faceloop.export.forms.to_int8", broken)
    made = _export(candidate, release, tmp_path / "out")
    assert "int8" in made.refused
    engines = read_engines(tmp_path / "out")
    assert all(
        engine.state == "refused" and engine.file is None and engine.reason
        for engine in engines
        if engine.form == "int8"
    )
    assert not (tmp_path / "out" / "packs" / "int8").exists()
    papers = json.loads((tmp_path / "out" / "parity.json").read_text(encoding="utf-8"))
    assert [entry["form"] for entry in papers["compared"] if entry["refused_because"]] == ["int8"]
    assert _state(engines, "float32", "openvino") == "verified"


def test_full_tensorrt_ends_before_any_work_where_it_is_missing(candidate: Path, release: Path, tmp_path: Path) -> None:
    if find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(TargetMissing, match=r"'tensorrt' cannot be built here") as caught:
        _export(candidate, release, tmp_path / "out", "export.targets=[onnxruntime, tensorrt]")
    assert any(problem.startswith("library:") for problem in caught.value.missing)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_release_without_faces_to_compare_on_is_no_export(candidate: Path, tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "release", identities=[0])
    with pytest.raises(DataError, match="no faces to calibrate or compare on"):
        _export(candidate, release, tmp_path / "out")


def test_a_form_that_cannot_be_made_is_listed_with_its_reason(candidate: Path, tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "release", identities=[1, 2])
    samples = read_samples(release, ["train", "val"])
    write_table(release / "samples.parquet", ReleaseSample, [row for row in samples if row.split == "val"])
    made = _export(candidate, release, tmp_path / "out")
    assert made.shipped == ("float32", "float16")
    assert made.refused["int8"].startswith("nothing to calibrate int8 on")


@pytest.mark.integration
def test_tensorrt_rtx_builds_an_engine_of_each_form_without_a_gpu(
    candidate: Path, release: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    forms_wanted = "export.forms=[float32, float16, int8, pruned, channels, distilled]"
    gates = [f"export.gates.{form}={LOOSE.replace('0.9', '-1.0').replace('0.5', '-1.0').replace('0.4', '-1.0')}"
             for form in ("int8", "pruned", "channels", "distilled")]  # fmt: skip
    gates = [gate.replace("drift_mean: 0.2", "drift_mean: 2.0").replace("0.3", "1.0") for gate in gates]
    options = (forms_wanted, "export.targets=[tensorrt-rtx]", "export.tensorrt.capabilities=[sm86]", *gates)
    _export(candidate, release, tmp_path / "one", *options)
    engines = read_engines(tmp_path / "one")
    assert {(engine.form, engine.state) for engine in engines} == {
        (form, "built") for form in ("float32", "float16", "int8", "pruned", "channels", "distilled")
    }
    assert all((tmp_path / "one" / str(engine.file)).stat().st_size > 1000 for engine in engines)
    if find_gpu()[0] is None:
        assert verify([str(tmp_path / "one"), "--records", str(tmp_path / "found")]) == 2

    _export(candidate, release, tmp_path / "two", *options, previous=tmp_path / "one")
    for engine in engines:
        assert (tmp_path / "one" / str(engine.file)).read_bytes() == (tmp_path / "two" / str(engine.file)).read_bytes()


def test_the_stage_publishes_an_export_that_verifies_and_a_second_run_is_none(tmp_path: Path) -> None:
    overrides = [*SMALL, f"export.gates.int8={LOOSE}", "export.triton=null"]
    work = open_workspace(tmp_path, read_params(ROOT / "params.yaml", overrides), threads=1, progress=SilentProgress())
    for artifact in ("release", "candidate"):
        staging = fresh_partial(work.path(artifact), keep=False)
        (tiny_release if artifact == "release" else tiny_candidate)(staging)
        publish(work.path(artifact), stage=artifact, run_key="run", counts={}, inputs={})
    done = run_stage(work, "export")
    assert (done.report.items_in, done.report.published, done.report.figures["verified_engines"]) == (6, 6, 6)
    assert {path.name for path in work.path("exported").iterdir()} >= {"engines.json", "parity.json", "packs"}
    assert run_stage(work, "export").was_published_before

"""Engines: what they are named by, what a target machine finds out about them, what is missing where they cannot be."""

import ctypes
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.export.engines import EngineRecord, fingerprint_of, options_of, read_engines, write_engines
from faceloop.export.exporting import ExportJob, export_candidate
from faceloop.export.params import Profile
from faceloop.export.plans import GpuPlan, plan_engines
from faceloop.export.preflight import Gpu, TargetMissing, find_gpu, find_library, require_tensorrt
from faceloop.export.tensorrt_builder import BuildOptions, build_engine
from faceloop.export.verify import Verification, engines_as_known, main, write_verification
from faceloop.vision.packs import load_pack
from facestore.errors import ConfigError, DataError

from .export_world import DIMENSION, export_params, tiny_candidate, tiny_graph, tiny_release

HERE = ModuleType("tensorrt")
OPTIONS = BuildOptions(
    profile=Profile(min=1, opt=2, max=4), capabilities=("sm86",), optimisation_level=0, workspace_mb=64,
    timing_cache=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    pack = load_pack(str(tiny_candidate(folder / "candidate")), accept_licence=None, insightface_root=None)
    (folder / "out").mkdir()
    job = ExportJob(
        release=tiny_release(folder / "release"), release_version="abc", exported=folder / "out", previous=None
    )
    export_candidate(pack, job, export_params("export.forms=[float32, float16]"), threads=1)
    return folder / "out"


def _record(**changes: str | None) -> EngineRecord:
    record = EngineRecord(
        fingerprint="00", form="int8", target="openvino", state="verified", reason=None, file="packs/int8/model.onnx",
        onnx_sha256="ab", options=options_of({"hint": "f32", "device": "cpu"}), versions=options_of({"openvino": "1"}),
    )  # fmt: skip
    return replace(record, **changes)  # type: ignore[arg-type]  # each is a text


def test_engines_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = [_record(), _record(fingerprint="01", state="refused", reason="too far", file=None)]
    write_engines(tmp_path, records[::-1], candidate="ab", release="r")
    assert read_engines(tmp_path) == records


def test_a_folder_without_engines_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a list of engines"):
        read_engines(tmp_path)
    (tmp_path / "engines.json").write_text('{"version": 99, "engines": []}', encoding="utf-8")
    with pytest.raises(DataError, match="format 99"):
        read_engines(tmp_path)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3), min_size=1))
def test_a_fingerprint_knows_content_and_no_order(values: dict[str, int]) -> None:
    def name(options: dict[str, int]) -> str:
        spelled = options_of(dict(options))
        return fingerprint_of(onnx_sha256="ab", target="openvino", options=spelled, versions=())

    assert name(values) == name(dict(reversed(list(values.items()))))
    assert name(values) != name({**values, "more": 1})


def test_engines_are_verified_here_and_twice_is_once(exported: Path, tmp_path: Path) -> None:
    assert main([str(exported), "--records", str(tmp_path)]) == 0
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 4
    assert main([str(exported), "--records", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    found = json.loads((tmp_path / files[0]).read_text(encoding="utf-8"))
    assert found["cosine_min"] > 0.999


def test_an_engine_that_answers_otherwise_is_refused_and_the_export_stays_as_it_was(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    before = (copy / "engines.json").read_bytes()
    (copy / "packs" / "float16" / "model.onnx").write_bytes(tiny_graph(seed=9).onnx_bytes)
    assert main([str(copy), "--records", str(tmp_path / "found"), "--target", "openvino"]) == 1
    assert json.loads(capsys.readouterr().out)["verified"] == 1
    assert (copy / "engines.json").read_bytes() == before
    known = {(engine.form, engine.target): engine for engine in engines_as_known(copy, tmp_path / "found")}
    assert known["float16", "openvino"].state == "refused"
    assert "least cosine to the reference" in str(known["float16", "openvino"].reason)
    assert known["float32", "openvino"].state == "verified"


def test_an_engine_that_does_not_load_is_refused_in_its_own_words(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    (copy / "packs" / "float32" / "model.onnx").write_bytes(b"rubbish")
    assert main([str(copy), "--records", str(tmp_path / "found"), "--target", "onnxruntime"]) == 1
    refused = [engine for engine in engines_as_known(copy, tmp_path / "found") if engine.state == "refused"]
    assert [(engine.form, engine.target) for engine in refused] == [("float32", "onnxruntime")]
    assert "refuses the model" in str(refused[0].reason)


def test_one_machine_that_refuses_outweighs_another(exported: Path, tmp_path: Path) -> None:
    engine = read_engines(exported)[0]
    for device, state in (("sm86", "verified"), ("sm89", "refused")):
        write_verification(tmp_path, Verification(
            fingerprint=engine.fingerprint, engine_sha256="", state="refused" if state == "refused" else "verified",
            reason=f"said {device}", device=device, cosine_min=None,
        ))  # fmt: skip
    assert next(known.reason for known in engines_as_known(exported, tmp_path)) == "said sm89"


def test_what_full_tensorrt_lacks_is_named_all_at_once() -> None:
    with pytest.raises(TargetMissing) as caught:
        require_tensorrt(
            capabilities=["sm90"], find=lambda _: (None, "library: gone"), gpu=lambda: (None, "driver: gone")
        )
    assert [problem.split(":")[0] for problem in caught.value.missing] == ["library", "driver", "compute capability"]
    assert "take 'tensorrt' out of export.targets" in str(caught.value)


def test_a_gpu_of_another_kind_is_refused_and_the_right_one_taken() -> None:
    def found() -> tuple[Gpu, None]:
        return Gpu(capability=(8, 6)), None

    with pytest.raises(TargetMissing, match="the GPU here is sm86, asked for sm90"):
        require_tensorrt(capabilities=["sm90"], find=lambda _: (HERE, None), gpu=found)
    library, gpu = require_tensorrt(capabilities=["sm90", "sm86"], find=lambda _: (HERE, None), gpu=found)
    assert (library, gpu.name) == (HERE, "sm86")


def test_a_missing_library_and_driver_are_said_in_words() -> None:
    def load(name: str) -> ModuleType:
        raise ImportError(f"No module named {name!r}")

    assert find_library("tensorrt", load)[1] == (
        "library: Python package 'tensorrt' with its shared libraries does not load (No module named 'tensorrt')"
    )
    assert find_gpu("libnowhere.so.9")[1] == "driver: libnowhere.so.9 does not load, so there is no NVIDIA driver"


@pytest.mark.skipif(sys.platform != "linux", reason="loads the C library by its Linux name")
def test_a_library_that_is_no_driver_is_not_taken_for_one() -> None:
    assert ctypes.CDLL("libc.so.6")
    assert find_gpu("libc.so.6")[1] == "driver: libc.so.6 is no CUDA driver"


@pytest.mark.integration
def test_tensorrt_rtx_names_the_node_that_it_cannot_take() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    model = onnx.load_model_from_string(tiny_graph().onnx_bytes)
    model.graph.node[3].op_type, model.graph.node[3].domain = "Curious", "nowhere"
    graph = replace(tiny_graph(), onnx_bytes=model.SerializeToString())
    with pytest.raises(DataError, match="relu"):
        build_engine(trt, graph, OPTIONS)


@pytest.mark.integration
def test_tensorrt_rtx_refuses_a_capability_that_it_does_not_know() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    with pytest.raises(ConfigError, match=r"'sm90' is unknown .* it knows .*sm86"):
        build_engine(trt, tiny_graph(), replace(OPTIONS, capabilities=("sm90",)))


def test_a_plan_for_tensorrt_rtx_has_no_timing_cache_and_says_its_versions() -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    (plan,) = plan_engines(export_params("export.targets=[tensorrt-rtx]", "export.tensorrt.timing_cache=cache"))
    assert isinstance(plan, GpuPlan)
    assert plan.build.timing_cache is None
    assert dict(plan.versions).keys() == {"tensorrt_rtx"}
    assert json.loads(dict(plan.options)["profile"]) == [1, 2, 4]


def test_probes_are_nobodys_face_and_the_vectors_are_unit(exported: Path) -> None:
    with np.load(exported / "probes.npz") as probes:
        assert probes["inputs"].shape == (3, 3, 112, 112)
        assert probes["vectors_float32"].shape == (3, DIMENSION)
        assert np.allclose(np.linalg.norm(probes["vectors_float32"], axis=1), 1, atol=1e-5)

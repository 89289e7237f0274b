"""What an export serves: the ONNX file, or on server GPUs the engine that TensorRT made of it."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from faceloop.export.building import build_for_gpu
from faceloop.export.canonical import canonical_graph
from faceloop.export.engines import EngineRecord, options_of, read_engines, write_engines
from faceloop.export.exporting import ExportJob, export_candidate
from faceloop.export.params import Profile, Triton
from faceloop.export.plans import GpuPlan
from faceloop.export.serving import write_serving
from faceloop.export.tensorrt_builder import BuildOptions
from faceloop.export.triton_check import check_repository
from faceloop.export.triton_config import read_config
from faceloop.vision.packs import load_pack
from faceloop.vision.specs import ModelPack
from facestore.errors import ConfigError

from .export_world import export_params, tiny_candidate, tiny_release

ENGINE = b"what TensorRT would have built"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose float32 has an engine of full TensorRT; its bytes are made up, all else is real."""
    folder = tmp_path_factory.mktemp("serving")
    pack = load_pack(str(tiny_candidate(folder / "candidate")), accept_licence=None, insightface_root=None)
    out = folder / "out"
    out.mkdir()
    job = ExportJob(release=tiny_release(folder / "release"), release_version="r", exported=out, previous=None)
    export_candidate(pack, job, export_params("export.forms=[float32]", "export.targets=[onnxruntime]"), threads=1)
    options = BuildOptions(
        profile=Profile(min=1, opt=8, max=16), capabilities=("sm90",), optimisation_level=3, workspace_mb=64,
        timing_cache=None,
    )  # fmt: skip
    plan = GpuPlan(
        target="tensorrt", library=ModuleType("tensorrt"), build=options, options=options_of(options.spelled()),
        versions=options_of({"tensorrt": "11"}),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("faceloop.export.building.build_engine", lambda *_: ENGINE)
        built = build_for_gpu("float32", plan, canonical_graph(pack), exported=out, previous=None)
    _write(out, [*read_engines(out), built])
    return out


def _write(out: Path, engines: list[EngineRecord]) -> None:
    write_engines(out, engines, candidate="c", release="r")


def _pack(exported: Path) -> ModelPack:
    return load_pack(str(exported / "packs" / "float32"), accept_licence=None, insightface_root=None)


def _wanted(*, gpu: int, largest: int = 16) -> Triton:
    found = export_params(
        "export.triton={form: float32, detector: builtin, long_side_px: 320, min_score: 0.6, max_iou: 0.3, "
        f"max_faces: 8, largest_batch: {largest}, preferred_batches: [8], max_wait_us: 100, cpu_instances: 1, "
        f"gpu_instances: {gpu}}}"
    ).triton
    assert found is not None
    return found


def test_the_engine_for_server_gpus_is_served_where_gpus_serve(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    write_serving(copy, _pack(copy), _wanted(gpu=2))
    embed = copy / "triton" / "face_embed"
    assert check_repository(copy / "triton")[-1] == "faces"
    assert (embed / "1" / "model.plan").read_bytes() == ENGINE
    assert not (embed / "1" / "model.onnx").exists()
    config = read_config(embed / "config.pbtxt")
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 16)
    assert [(group.kind, group.count) for group in config.instance_group] == [(1, 2)]  # KIND_GPU
    assert read_config(copy / "triton" / "face_detect" / "config.pbtxt").platform == "onnxruntime_onnx"


@pytest.mark.parametrize("case", ["cpu", "refused", "for applications"])
def test_without_a_gpu_or_an_engine_for_servers_the_onnx_file_is_served(
    case: str, exported: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    engines = read_engines(copy)
    if case == "refused":
        gone = [engine for engine in engines if engine.target != "tensorrt"]
        lost = next(engine for engine in engines if engine.target == "tensorrt")
        _write(copy, [*gone, replace(lost, state="refused", reason="no", file=None)])
    if case == "for applications":
        _write(copy, [replace(one, target="tensorrt-rtx") if one.target == "tensorrt" else one for one in engines])
    write_serving(copy, _pack(copy), _wanted(gpu=0 if case == "cpu" else 1))
    assert read_config(copy / "triton" / "face_embed" / "config.pbtxt").platform == "onnxruntime_onnx"
    assert (copy / "triton" / "face_embed" / "1" / "model.onnx").is_file()


def test_batches_that_the_engine_was_not_made_for_are_refused_before_a_server_sees_them(
    exported: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    with pytest.raises(ConfigError, match="takes batches of 1 to 16, and export"):
        write_serving(copy, _pack(copy), _wanted(gpu=1, largest=32))
    assert not (copy / "triton").exists()

"""Which engines an export makes of each form, and with what: settled, and checked, before any work."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Literal

from faceloop.export.engines import Options, Target, options_of
from faceloop.export.params import ExportParams
from faceloop.export.preflight import require_tensorrt, require_tensorrt_rtx
from faceloop.export.tensorrt_builder import BuildOptions, versions_of
from faceloop.vision.contract import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuPlan:
    """The engine is the ONNX itself, compiled when it is loaded: what is stamped is how."""

    target: Literal["onnxruntime", "openvino"]
    hint: Precision
    options: Options
    versions: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPlan:
    """A serialised engine is built by `library`."""

    target: Literal["tensorrt", "tensorrt-rtx"]
    library: ModuleType
    build: BuildOptions
    options: Options
    versions: Options


Plan = CpuPlan | GpuPlan


def plan_engines(params: ExportParams) -> list[Plan]:
    """One plan a target, and one a hint for OpenVINO, in the order of the params.

    Raises TargetMissing for a TensorRT target that cannot be built on this machine.
    """
    return [plan for target in params.targets for plan in _plans(target, params)]


def _plans(target: Target, params: ExportParams) -> list[Plan]:
    match target:
        case "onnxruntime":
            return [_cpu_plan(target, "f32")]
        case "openvino":
            return [_cpu_plan(target, hint) for hint in params.openvino_hints]
        case "tensorrt-rtx":
            return [_gpu_plan(target, require_tensorrt_rtx(), params, tuple(params.tensorrt.capabilities))]
        case "tensorrt":
            library, gpu = require_tensorrt(capabilities=params.tensorrt.capabilities)
            return [_gpu_plan(target, library, params, (gpu.name,))]


def _cpu_plan(target: Literal["onnxruntime", "openvino"], hint: Precision) -> CpuPlan:
    return CpuPlan(
        target=target,
        hint=hint,
        options=options_of({"device": "cpu", "hint": hint}),
        versions=options_of({target: version(target)}),
    )


def _gpu_plan(
    target: Literal["tensorrt", "tensorrt-rtx"],
    library: ModuleType,
    params: ExportParams,
    capabilities: tuple[str, ...],
) -> GpuPlan:
    wanted = params.tensorrt
    build = BuildOptions(
        profile=wanted.profile,
        capabilities=capabilities,
        optimisation_level=wanted.optimisation_level,
        workspace_mb=wanted.workspace_mb,
        # TensorRT-RTX has the calls and does nothing with them, but warn.
        timing_cache=Path(wanted.timing_cache) if target == "tensorrt" and wanted.timing_cache is not None else None,
    )
    return GpuPlan(
        target=target,
        library=library,
        build=build,
        options=options_of(build.spelled()),
        versions=options_of(versions_of(library)),
    )

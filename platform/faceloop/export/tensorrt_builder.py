"""ONNX to a serialised engine with TensorRT or TensorRT-RTX: one code path, the libraries share their Python API.

Networks are strongly typed: what precision a layer has is written in the ONNX. Neither library is imported here;
`preflight` finds them.
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from faceloop.export.canonical import RecogniserGraph
from faceloop.export.params import Profile
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue

_SIDE_PX = 112


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """`capabilities` such as "sm86"; empty: the library's own choice. `timing_cache`: a file, read and rewritten."""

    profile: Profile
    capabilities: tuple[str, ...]
    optimisation_level: int  # 0 … 5
    workspace_mb: int
    timing_cache: Path | None

    def spelled(self) -> dict[str, JsonValue]:
        """What an engine is stamped with. A timing cache makes builds faster, not other, so it is no part of it."""
        return {
            "profile": [self.profile.min, self.profile.opt, self.profile.max],
            "capabilities": list(self.capabilities),
            "optimisation_level": self.optimisation_level,
            "workspace_mb": self.workspace_mb,
        }


def build_engine(trt: ModuleType, graph: RecogniserGraph, options: BuildOptions) -> bytes:
    """Build; returns the serialised engine.

    Raises DataError with the library's own words (and the nodes it names) where it cannot take the graph, ConfigError
    for a compute capability that it does not know.
    """
    lib: Any = trt
    logger, said = _logger(lib)
    builder = lib.Builder(logger)
    network = builder.create_network(1 << int(lib.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = lib.OnnxParser(network, logger)
    if not parser.parse(graph.onnx_bytes):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        told = "; ".join(f"{error.node_name() or 'graph'}: {error.desc()}" for error in errors)
        raise DataError(f"{lib.__name__} {lib.__version__} cannot take the graph: {told[:600]}; see export's docs")
    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimisation_level
    config.set_memory_pool_limit(lib.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    _set_capabilities(lib, config, options.capabilities)
    shapes = [(n, 3, _SIDE_PX, _SIDE_PX) for n in (options.profile.min, options.profile.opt, options.profile.max)]
    profile = builder.create_optimization_profile()
    profile.set_shape(graph.input_name, *shapes)
    config.add_optimization_profile(profile)
    cache = _timing_cache(config, options.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise DataError(
            f"{lib.__name__} {lib.__version__} built nothing: {'; '.join(said)[:600] or 'it does not say why'}; "
            "try another precision or compute capability"
        )
    if cache is not None and options.timing_cache is not None:
        partial = options.timing_cache.with_name(options.timing_cache.name + ".partial")
        partial.write_bytes(bytes(cache.serialize()))
        partial.replace(options.timing_cache)
    return bytes(plan)


def versions_of(trt: ModuleType) -> dict[str, JsonValue]:
    return {str(trt.__name__): str(trt.__version__)}


def _logger(lib: Any) -> tuple[Any, list[str]]:
    """A logger that keeps errors for our own message, and lets nothing reach the terminal."""
    said: list[str] = []

    class Keeping(lib.ILogger):  # type: ignore[misc]  # a class of a library that has no stubs
        def __init__(self) -> None:
            lib.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(lib.ILogger.Severity.ERROR):
                said.append(message)

    return Keeping(), said


def _set_capabilities(lib: Any, config: Any, capabilities: tuple[str, ...]) -> None:
    if not capabilities:
        return
    if not hasattr(lib, "ComputeCapability"):
        return  # full TensorRT builds for the GPU at hand; preflight compared it with what is asked for
    known = lib.ComputeCapability.__members__
    config.num_compute_capabilities = len(capabilities)
    for index, name in enumerate(capabilities):
        if name.upper() not in known or not config.set_compute_capability(known[name.upper()], index):
            raise ConfigError(
                f"compute capability {name!r} is unknown to {lib.__name__} {lib.__version__}; it knows "
                f"{', '.join(sorted(key.lower() for key in known if key.startswith('SM')))}"
            )


def _timing_cache(config: Any, path: Path | None) -> Any:
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if cache is None:
        raise DataError(f"{path} is no timing cache of this library; remove it")
    config.set_timing_cache(cache, False)
    return cache

"""`config.pbtxt` of Triton, made with Triton's own schema: a field that it does not know cannot be written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from google.protobuf import text_format  # type: ignore[import-untyped]
from tritonclient.grpc import model_config_pb2  # type: ignore[import-untyped]

from facestore.errors import ConfigError, DataError

CONFIG = "config.pbtxt"
Platform = Literal["onnxruntime_onnx", "tensorrt_plan", "ensemble"]
Kind = Literal["UINT8", "FP32", "STRING"]
_KEPT = 2  # versions in the server: the one that counts, and the one to go back to
MODEL_FILES: Mapping[str, str] = {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan"}
Message = Any  # protobuf makes its classes at run time


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output; -1 among `dims` is a free size. Of a batching model the batch is not among them."""

    name: str
    kind: Kind
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Copies of a model that run side by side."""

    cpu: int
    gpu: int  # on each GPU

    def __post_init__(self) -> None:
        if min(self.cpu, self.gpu) < 0 or self.cpu + self.gpu < 1:
            raise ConfigError(f"instances are {self.cpu} on the CPU and {self.gpu} on GPUs; set one of them to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How requests are put together. `largest` ≥ 1; preferred sizes at most that; the wait in microseconds."""

    largest: int
    preferred: tuple[int, ...]
    max_wait_us: int

    def __post_init__(self) -> None:
        if self.largest < 1 or self.max_wait_us < 0 or not all(1 <= size <= self.largest for size in self.preferred):
            raise ConfigError(
                f"batches of {list(self.preferred)} up to {self.largest}, wait {self.max_wait_us} us: preferred sizes "
                "must lie between 1 and the largest, and the wait must not be negative"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """An input of a request that a model gets before it counts as ready, so that no user waits for its first."""

    name: str
    dims: tuple[int, ...]
    is_random: bool  # else zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One model of an ensemble: its tensor → the ensemble's."""

    model: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


def model_config(
    name: str,
    platform: Platform,
    *,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    instances: Instances | None,
    batching: Batching | None = None,
    warmup: Sequence[Warmup] = (),
    steps: Sequence[Step] = (),
    notes: Mapping[str, str] | None = None,
) -> Message:
    """A `ModelConfig`. Without `batching` the model sees one request at a time; `notes` become its parameters."""
    config = model_config_pb2.ModelConfig(
        name=name, platform=platform, max_batch_size=batching.largest if batching else 0
    )
    for tensor in inputs:
        config.input.add(name=tensor.name, data_type=f"TYPE_{tensor.kind}", dims=tensor.dims)
    for tensor in outputs:
        config.output.add(name=tensor.name, data_type=f"TYPE_{tensor.kind}", dims=tensor.dims)
    for kind, count in (("KIND_CPU", instances.cpu), ("KIND_GPU", instances.gpu)) if instances else ():
        if count:
            config.instance_group.add(kind=kind, count=count)
    if batching:
        config.dynamic_batching.preferred_batch_size.extend(batching.preferred)
        config.dynamic_batching.max_queue_delay_microseconds = batching.max_wait_us
    if warmup:
        kinds = {tensor.name: tensor.kind for tensor in inputs}
        request = config.model_warmup.add(
            name="first", batch_size=max(batching.preferred, default=1) if batching else 1
        )
        for one in warmup:
            entry = request.inputs[one.name]
            entry.data_type = model_config_pb2.DataType.Value(f"TYPE_{kinds[one.name]}")
            entry.dims.extend(one.dims)
            setattr(entry, "random_data" if one.is_random else "zero_data", True)
    for step in steps:
        config.ensemble_scheduling.step.add(
            model_name=step.model, model_version=-1, input_map=dict(step.inputs), output_map=dict(step.outputs)
        )
    for key, value in (notes or {}).items():
        config.parameters[key].string_value = value
    return config


def serve_versions(config: Message, version: int, *, beside: Sequence[int], there: Sequence[int]) -> Message:
    """A copy that serves `version` and those `beside` it: as the last two where these are that, so that a version to
    come is loaded before it counts. `there` are all on disk, rising. An ensemble serves `version` alone, and its
    steps are of it."""
    found = model_config_pb2.ModelConfig()
    found.CopyFrom(config)
    found.ClearField("version_policy")
    served = sorted({version, *beside})
    if found.HasField("ensemble_scheduling"):
        found.version_policy.specific.versions.append(version)
        for step in found.ensemble_scheduling.step:
            step.model_version = version
    elif list(there[-_KEPT:]) == served:
        found.version_policy.latest.num_versions = _KEPT
    else:
        found.version_policy.specific.versions.extend(served)
    return found


def as_text(config: Message) -> str:
    """The text of a `config.pbtxt`; equal configs give equal text."""
    return str(text_format.MessageToString(config))


def read_config(path: Path) -> Message:
    """The config in a file. Raises DataError for one that Triton's schema refuses."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise DataError(f"{path} is no config that Triton reads ({error}); write the repository anew") from error

"""What Triton's schema lets pass and its server refuses: checked here, before a server sees the repository."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto

from faceloop.export.triton_config import CONFIG, MODEL_FILES, Message, read_config
from facestore.errors import DataError

_ONNX_KINDS: Mapping[int, str] = {
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.STRING: "TYPE_STRING",
}
Signature = tuple[str, tuple[int, ...]]  # type, dims with the batch first


def check_repository(folder: Path) -> tuple[str, ...]:
    """Names of the models of a repository that holds together. Raises DataError naming all that is wrong with it."""
    configs = {path.parent.name: read_config(path) for path in sorted(folder.glob(f"*/{CONFIG}"))}
    problems = [f"{folder}: no model has a {CONFIG}"] if not configs else []
    for name, config in configs.items():
        problems += [f"{name}: {problem}" for problem in _alone(folder / name, config)]
    for name, config in configs.items():
        if config.HasField("ensemble_scheduling"):
            problems += [f"{name}: {problem}" for problem in _together(folder, config, configs)]
    if problems:
        raise DataError("; ".join(problems) + "; write the repository anew")
    return tuple(configs)


def versions_of(folder: Path) -> list[int]:
    """Versions of a model that lie there, rising."""
    return sorted(int(path.name) for path in folder.glob("[1-9]*") if path.name.isdigit() and path.is_dir())


def served_of(folder: Path, config: Message) -> list[int]:
    """Versions that its policy serves, rising."""
    there = versions_of(folder)
    if config.version_policy.HasField("specific"):
        return sorted(config.version_policy.specific.versions)
    return there[-(config.version_policy.latest.num_versions or 1) :]


def signatures(tensors: Sequence[Message], *, is_batching: bool) -> dict[str, Signature]:
    """Name → type and full dims of inputs or outputs."""
    kinds = {tensor.name: tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type for tensor in tensors}
    return {
        tensor.name: (
            kinds[tensor.name].values_by_number[tensor.data_type].name,
            ((-1, *tensor.dims) if is_batching else tuple(tensor.dims)),
        )
        for tensor in tensors
    }


def _alone(folder: Path, config: Message) -> list[str]:
    problems = []
    if config.name != folder.name:
        problems.append(f"the config is of {config.name!r}: the name must be the folder's")
    if config.max_batch_size < 0:
        problems.append(f"max_batch_size is {config.max_batch_size}, expected 0 or more")
    if any(not 1 <= size <= config.max_batch_size for size in config.dynamic_batching.preferred_batch_size):
        problems.append(f"preferred batch sizes exceed max_batch_size {config.max_batch_size}")
    there, served = versions_of(folder), served_of(folder, config)
    if not served or (missing := [version for version in served if version not in there]):
        problems.append(f"versions {missing if served else 'none'} are to be served and do not lie there")
        return problems
    file_name = MODEL_FILES.get(config.platform)
    for version in served if file_name else ():
        path = folder / str(version) / str(file_name)
        if not path.is_file():
            problems.append(f"version {version} has no {file_name}")
        elif config.platform == "onnxruntime_onnx":
            problems += [f"version {version}: {problem}" for problem in _as_in_file(path, config)]
    return problems


def _as_in_file(path: Path, config: Message) -> list[str]:
    graph = onnx.load_model(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    ends = (
        (config.input, [value for value in graph.input if value.name not in constants]),
        (config.output, graph.output),
    )
    problems = []
    for said, found in ends:
        real = {value.name: _signature(value) for value in found}
        for name, signature in signatures(said, is_batching=config.max_batch_size > 0).items():
            if name not in real or not _fits(signature, real[name]):
                problems.append(f"config says {name} {signature}, the file has {real.get(name, 'no such tensor')}")
        problems += [f"{name} of the file is not in the config" for name in sorted(set(real) - {t.name for t in said})]
    return problems


def _signature(value: onnx.ValueInfoProto) -> Signature:
    dims = tuple(-1 if d.dim_param or not d.dim_value else d.dim_value for d in value.type.tensor_type.shape.dim)
    return _ONNX_KINDS.get(value.type.tensor_type.elem_type, "another type"), dims


def _fits(first: Signature, second: Signature) -> bool:
    """Same type, same rank, and no two known sizes that differ."""
    same_rank = first[0] == second[0] and len(first[1]) == len(second[1])
    return same_rank and all(a == b or -1 in (a, b) for a, b in zip(first[1], second[1], strict=True))


def _together(folder: Path, ensemble: Message, configs: Mapping[str, Message]) -> list[str]:
    """Whether every step finds its inputs among what is given or made before it, in type and shape."""
    is_batching = ensemble.max_batch_size > 0
    known = signatures(ensemble.input, is_batching=is_batching)
    problems = []
    for step in ensemble.ensemble_scheduling.step:
        model = configs.get(step.model_name)
        if model is None:
            problems.append(f"step {step.model_name}: there is no such model")
            continue
        if step.model_version != -1 and step.model_version not in served_of(folder / step.model_name, model):
            problems.append(f"step {step.model_name}: version {step.model_version} is not served")
        inputs = signatures(model.input, is_batching=model.max_batch_size > 0)
        outputs = signatures(model.output, is_batching=model.max_batch_size > 0)
        for kind, own, mapped in (("input", inputs, step.input_map), ("output", outputs, step.output_map)):
            problems += [
                f"step {step.model_name}: the model has no {kind} {name}" for name in sorted(set(mapped) - set(own))
            ]
        for name, signature in inputs.items():
            found = known.get(step.input_map.get(name, ""))
            if found is None or not _fits(signature, found):
                problems.append(f"step {step.model_name}: input {name} {signature} is fed {found}")
        known |= {step.output_map[name]: outputs[name] for name in outputs if name in step.output_map}
    for name, signature in signatures(ensemble.output, is_batching=is_batching).items():
        if name not in known or not _fits(signature, known[name]):
            problems.append(f"output {name} {signature} is made as {known.get(name)}")
    return problems

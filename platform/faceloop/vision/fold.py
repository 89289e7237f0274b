"""ONNX files made ready for any engine: weights in plain float32, free axes symbolic, nothing outside.

The built-in files store weights as int8 blocks that are de-quantised at every call (and that ONNX Runtime
refuses for YuNet). Folding does that once, in memory; what computes in integers is left to. Home of the `onnx` package.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import numpy_helper

from facestore.errors import ModelCorrupt

_PASSING_OPERATORS = frozenset(
    {"Identity", "Cast", "Transpose", "Reshape", "Clip", "QuantizeLinear", "DequantizeLinear"}
)
_ARITHMETIC_OPERATORS = frozenset({"Sub", "Add", "Mul", "Div"})
_Constants = dict[str, NDArray[np.generic]]


def fold_model(model_bytes: bytes, *, free_axes: Sequence[str]) -> bytes:
    """A serialised ONNX model with constants folded and its input's axes freed.

    Folds `DequantizeLinear` (per tensor, per axis and blocked, opset 21; not where the graph has `QuantizeLinear`) and
    `Reshape` of constants into float32 initialisers, keeps the one real graph input, and renames the leading axes of
    it by `free_axes`: `("N",)` for a free batch, `("N", "", "H", "W")` for a free batch and size ("" keeps an axis).
    Raises ModelCorrupt for bytes that are no ONNX model, weights stored outside the file, or a graph that
    has not exactly one input after folding.
    """
    model = _parse(model_bytes)
    graph = model.graph
    constants = _constants(graph)
    _fold_constants(graph, constants)
    if free_axes:
        _free_batch_in_reshapes(graph, constants)
    _keep_what_is_used(graph, constants)
    if len(graph.input) != 1:
        names = [value.name for value in graph.input]
        raise ModelCorrupt(f"model has inputs {names}, expected one image batch; use a detector or recogniser")
    _free_axes(graph, free_axes)
    return bytes(model.SerializeToString(deterministic=True))


def drop_initialiser_inputs(model_bytes: bytes) -> bytes:
    """The model as it is, less graph inputs that are initialisers or that no node reads (the plain fix)."""
    model = _parse(model_bytes)
    _keep_what_is_used(model.graph, _constants(model.graph))
    return bytes(model.SerializeToString(deterministic=True))


def normalises_inside(model_bytes: bytes) -> bool:
    """Whether the graph itself subtracts a mean and scales (as SFace and old ArcFace exports do).

    Follows the image to its first arithmetic (InsightFace's own rule asks for the names of the first eight
    nodes, and misses quantised files). Feeding such a graph normalised pixels is silently wrong: the cosine
    to the right vector is near 0.
    """
    graph = _parse(model_bytes).graph
    constants = _constants(graph)
    names = {value.name for value in graph.input if value.name not in constants}
    for node in graph.node:  # in topological order
        if names.isdisjoint(node.input):
            continue
        if node.op_type not in _PASSING_OPERATORS:
            return node.op_type in _ARITHMETIC_OPERATORS
        names.update(node.output)
    return False


def _parse(model_bytes: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(model_bytes)
    except DecodeError as error:
        raise ModelCorrupt(f"not an ONNX model ({error}); fetch the file again") from error
    if not model.graph.node:
        raise ModelCorrupt("ONNX model has no nodes; fetch the file again")
    inside = [tensor for function in model.functions for tensor in _node_tensors(function.node)]
    for tensor in [*_all_tensors(model.graph), *inside]:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelCorrupt(
                f"tensor {tensor.name!r} lies outside the ONNX file; only single-file models are accepted: "
                "save it again with all weights inside"
            )
    return model


def _all_tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    return [*tensors, *_node_tensors(graph.node)]


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> list[onnx.TensorProto]:
    tensors: list[onnx.TensorProto] = []
    for node in nodes:
        for attribute in node.attribute:
            tensors += [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                tensors += _all_tensors(inner)
    return tensors


def _constants(graph: onnx.GraphProto) -> _Constants:
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return values


def _fold_constants(graph: onnx.GraphProto, constants: _Constants) -> None:
    """Nodes are in topological order (the ONNX standard asks for it), so that one pass folds chains.

    Where the graph quantises its inner values too (Q/DQ), integer weights stay: engines have integer kernels for that.
    """
    is_integer = any(node.op_type == "QuantizeLinear" for node in graph.node)
    foldable = ("Reshape",) if is_integer else ("DequantizeLinear", "Reshape")
    kept = []
    for node in graph.node:
        inputs = [constants.get(name) for name in node.input if name]
        if node.op_type not in foldable or any(value is None for value in inputs):
            kept.append(node)
            continue
        arrays = [value for value in inputs if value is not None]
        folded = _dequantise(node, arrays) if node.op_type == "DequantizeLinear" else _reshape(node, arrays)
        constants[node.output[0]] = folded
        graph.initializer.append(numpy_helper.from_array(folded, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _dequantise(node: onnx.NodeProto, arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    """(x - zero point) × scale, ONNX opset 21: scale per tensor, per axis, or per block along the axis."""
    quantised = arrays[0].astype(np.float32)
    axis = _attribute(node, "axis", 1) % max(quantised.ndim, 1)
    block = _attribute(node, "block_size", 0)
    spread = [_spread(value.astype(np.float32), quantised.shape, axis, block) for value in arrays[1:]]
    try:
        offset = spread[1] if len(spread) > 1 else np.float32(0)
        return np.ascontiguousarray((quantised - offset) * spread[0], dtype=np.float32)
    except ValueError as error:
        raise ModelCorrupt(f"node {node.output[0]!r}: scales do not fit its weights ({error})") from error


def _spread(value: NDArray[np.float32], shape: tuple[int, ...], axis: int, block: int) -> NDArray[np.float32]:
    if value.size == 1:
        return value.reshape(())
    if block and value.ndim == len(shape):
        return np.repeat(value, block, axis=axis).take(np.arange(shape[axis]), axis=axis)
    return value.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def _reshape(node: onnx.NodeProto, arrays: list[NDArray[np.generic]]) -> NDArray[np.generic]:
    sizes = [int(size) for size in arrays[1]]
    if not _attribute(node, "allowzero", 0):
        sizes = [arrays[0].shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return arrays[0].reshape(sizes)


def _free_batch_in_reshapes(graph: onnx.GraphProto, constants: _Constants) -> None:
    """A leading 1 in the target of a Reshape is the batch of the export; 0 says "as the input has it"."""
    for node in graph.node:
        target = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if target is None or target.ndim != 1 or len(target) < 2 or int(target.flat[0]) != 1:
            continue
        sizes = np.array([0, *target.flat[1:]], dtype=np.int64)
        if not (sizes[1:] == -1).any():
            continue
        name = f"{node.output[0]}_free_batch_shape"
        constants[name] = sizes
        graph.initializer.append(numpy_helper.from_array(sizes, name))
        node.input[1] = name


def _keep_what_is_used(graph: onnx.GraphProto, constants: _Constants) -> None:
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    inputs = [value for value in graph.input if value.name in read and value.name not in constants]
    initialisers = [tensor for tensor in graph.initializer if tensor.name in read]
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    del graph.input[:], graph.initializer[:], graph.node[:]
    graph.input.extend(inputs)
    graph.initializer.extend(initialisers)
    graph.node.extend(nodes)


def _free_axes(graph: onnx.GraphProto, free_axes: Sequence[str]) -> None:
    """Freed inputs leave the sizes noted for inner values and outputs stale: they are inferred anew."""
    if not free_axes:
        return
    del graph.value_info[:]
    for dimension, name in zip(graph.input[0].type.tensor_type.shape.dim, free_axes, strict=False):
        if name:
            dimension.dim_param = name
    is_size_free = any(free_axes[1:])
    for value in graph.output:
        for place, dimension in enumerate(value.type.tensor_type.shape.dim):
            if place == 0:
                dimension.dim_param = free_axes[0]
            elif is_size_free and place < len(value.type.tensor_type.shape.dim) - 1:
                dimension.dim_param = f"{value.name}_{place}"

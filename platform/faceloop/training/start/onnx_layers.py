"""Each ONNX operator of a recogniser as one of our layers: its arguments, and its weights under PyTorch's names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facestore.errors import ModelCorrupt

_Arrays = list[NDArray[Any] | None]
_ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
_PLAIN = {"Relu": "relu", "Sigmoid": "sigmoid", "Identity": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """`inputs` empty: the node's first; `rank`: axes of the output, None: as the input."""

    operator: str
    arguments: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    rank: int | None = None


def layer_of(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]], ranks: dict[str, int]) -> Layer:
    """The layer of one node; `ranks`: axes of each value so far. Raises ModelCorrupt where none of ours fits."""
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    operator, is_standard = node.op_type, node.domain in ("", "ai.onnx")
    if operator in _PLAIN and is_standard:
        return Layer(operator=_PLAIN[operator])
    if operator in _ARITHMETIC and is_standard:
        return _arithmetic(node, constants, ranks)
    if operator not in _READERS or not is_standard:
        raise ModelCorrupt(
            f"operator {node.domain}:{operator} (node {node.output[0]!r}) has no trainable layer; known are "
            f"{', '.join(sorted({*_READERS, *_ARITHMETIC, *_PLAIN}))}: start from another pack, or from scratch"
        )
    return _READERS[operator](node, attributes, [constants.get(name) for name in node.input], ranks)


def _refuse(node: onnx.NodeProto, what: str) -> ModelCorrupt:
    return ModelCorrupt(
        f"{node.op_type} (node {node.output[0]!r}) {what}; start from another pack, or export it plainly"
    )


def _weight(node: onnx.NodeProto, arrays: _Arrays, place: int) -> NDArray[Any]:
    found = arrays[place] if place < len(arrays) else None
    if found is None:
        raise _refuse(node, f"has no constant as input {place}, where its weights should be")
    return found


def _arithmetic(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]], ranks: dict[str, int]) -> Layer:
    fixed = [name in constants for name in node.input]
    if all(fixed):
        raise _refuse(node, "computes with constants only, which should have been folded")
    arguments: dict[str, Any] = {"operation": _ARITHMETIC[node.op_type], "constant_shape": None}
    arguments["is_constant_first"] = fixed[0]
    if not any(fixed):
        rank = max(ranks[name] for name in node.input)
        return Layer(operator="arithmetic", arguments=arguments, inputs=tuple(node.input), rank=rank)
    array, source = constants[node.input[fixed.index(True)]], node.input[fixed.index(False)]
    if array.ndim > ranks[source]:
        raise _refuse(node, f"has a constant of {array.ndim} axes, its input fewer")
    arguments["constant_shape"] = list(array.shape)
    return Layer(operator="arithmetic", arguments=arguments, inputs=(source,), weights={"constant": array})


def _conv(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    weight = _weight(node, arrays, 1)
    if weight.ndim != 4 or attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise _refuse(node, "is not a 2-D convolution with its padding written out")
    groups = int(attributes.get("group", 1))
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    has_bias = len(arrays) > 2
    prefix = "" if pads[:2] == pads[2:] else "1."  # behind a padding layer
    return Layer(
        operator="conv",
        arguments={
            "channels": [weight.shape[1] * groups, weight.shape[0]],
            "kernel": list(weight.shape[2:]),
            "pads": pads,
            "stride": list(attributes.get("strides", [1, 1])),
            "dilation": list(attributes.get("dilations", [1, 1])),
            "groups": groups,
            "bias": has_bias,
        },
        weights={f"{prefix}weight": weight} | ({f"{prefix}bias": _weight(node, arrays, 2)} if has_bias else {}),
    )


def _batch_norm(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    weight, bias, mean, variance = (_weight(node, arrays, place) for place in range(1, 5))
    return Layer(
        operator="batch_norm",
        arguments={
            "channels": len(weight),
            "epsilon": round(float(attributes.get("epsilon", 1e-5)), 12),
            # ONNX keeps this share of the old mean, PyTorch takes this share of the new one.
            "momentum": round(1.0 - float(attributes.get("momentum", 0.9)), 6),
            "rank": ranks[node.input[0]],
        },
        weights={
            "weight": weight,
            "bias": bias,
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": np.array(0, dtype=np.int64),
        },
    )


def _prelu(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    slopes = _weight(node, arrays, 1)
    if slopes.size not in (1, *slopes.shape[:1]):
        raise _refuse(node, f"has slopes {slopes.shape}, not one a channel")
    return Layer(operator="prelu", arguments={"num_parameters": slopes.size}, weights={"weight": slopes.reshape(-1)})


def _gemm(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    if attributes.get("transA", 0):
        raise _refuse(node, "transposes its input")
    weight = _weight(node, arrays, 1) * np.float32(attributes.get("alpha", 1.0))
    weight = weight if attributes.get("transB", 0) else weight.T
    weights = {"weight": weight}
    if len(arrays) > 2:
        bias = _weight(node, arrays, 2) * np.float32(attributes.get("beta", 1.0))
        weights["bias"] = np.broadcast_to(bias.reshape(-1), (weight.shape[0],))
    arguments = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": len(arrays) > 2}
    return Layer(operator="linear", arguments=arguments, weights=weights, rank=2)


def _matmul(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    weight = _weight(node, arrays, 1).T
    if weight.ndim != 2:
        raise _refuse(node, f"has weights of {weight.ndim} axes")
    arguments = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": False}
    return Layer(operator="linear", arguments=arguments, weights={"weight": weight})


def _clip(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    bounds = [None if array is None else float(array) for array in arrays[1:]]
    low, high = [*bounds, None, None][:2]
    return Layer(operator="clip", arguments={"low": attributes.get("min", low), "high": attributes.get("max", high)})


def _reshape(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    sizes = [int(size) for size in _weight(node, arrays, 1)]
    if sizes[0] not in (0, -1) or 0 in sizes[1:] or (sizes[0] == -1 and -1 in sizes[1:]):
        raise _refuse(node, f"reshapes to {sizes}: the first axis must be the batch")
    return Layer(operator="reshape", arguments={"sizes": sizes[1:]}, rank=len(sizes))


def _transpose(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    axes = list(attributes.get("perm", []))
    if not axes or axes[0] != 0:
        raise _refuse(node, f"moves the batch axis ({axes})")
    return Layer(operator="transpose", arguments={"axes": axes})


def _flatten(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    if attributes.get("axis", 1) != 1:
        raise _refuse(node, "flattens the batch axis")
    return Layer(operator="flatten", rank=2)


def _dropout(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    ratio = arrays[1] if len(arrays) > 1 else None
    rate = float(attributes.get("ratio", 0.5) if ratio is None else ratio)
    return Layer(operator="dropout", arguments={"p": round(rate, 6)})


def _average_pool(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    kernel, pads = list(attributes["kernel_shape"]), list(attributes.get("pads", [0, 0, 0, 0]))
    is_plain = attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID") and not attributes.get("ceil_mode", 0)
    if not is_plain or len(kernel) != 2 or pads[:2] != pads[2:] or set(attributes.get("dilations", [1])) != {1}:
        raise _refuse(node, "is not a plain 2-D pooling with even padding")
    return Layer(
        operator="average_pool",
        arguments={
            "kernel_size": kernel,
            "stride": list(attributes.get("strides", [1, 1])),
            "padding": pads[:2],
            "count_include_pad": bool(attributes.get("count_include_pad", 0)),
        },
    )


def _global_pool(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    return Layer(operator="global_average_pool", arguments={"output_size": 1})


def _leaky_relu(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    return Layer(operator="leaky_relu", arguments={"negative_slope": float(attributes.get("alpha", 0.01))})


def _length(node: onnx.NodeProto, attributes: dict[str, Any], arrays: _Arrays, ranks: dict[str, int]) -> Layer:
    axes = list(attributes.get("axes", [])) if len(arrays) < 2 else [int(axis) for axis in _weight(node, arrays, 1)]
    if len(axes) != 1 or not attributes.get("keepdims", 1):
        raise _refuse(node, "is not a length along one axis that is kept")
    return Layer(operator="length", arguments={"axis": axes[0]})


_READERS: dict[str, Callable[[onnx.NodeProto, dict[str, Any], _Arrays, dict[str, int]], Layer]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "PRelu": _prelu,
    "ReduceL2": _length,
    "Reshape": _reshape,
    "Transpose": _transpose,
}

"""Structured pruning: whole channels leave the graph, so that any engine is faster without knowing of sparsity.

Only where the graph allows it without asking the rest: a convolution whose channels go through element-wise and
depthwise layers straight into one other convolution. Residual sums and the last layers keep their width. A channel
counts by the L1 norms of what makes it and of what reads it (after Li et al., "Pruning filters for efficient
ConvNets", 2017); behind a batch norm its scale stands for what makes it, which the norm has evened out.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from faceloop.export.canonical import RecogniserGraph, checked_graph
from facestore.errors import ConfigError

_BLOCK = 16  # engines work on so many channels at once: 125 of 128 would be slower than 128
_ELEMENTWISE = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSwish", "Dropout"})
_PER_CHANNEL = {"PRelu": (1,), "BatchNormalization": (1, 2, 3, 4)}  # inputs whose first axis is the channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """`first` makes channels; tensors of `along` (first axis) and `last`'s weight (second axis) follow them."""

    first: str  # weight's name
    channels: int
    along: tuple[str, ...]
    depthwise: tuple[str, ...]  # weights' names of depthwise convolutions on the way
    norm_scale: str | None  # of the last batch norm on the way
    last: str


def prune_channels(graph: RecogniserGraph, share: float) -> RecogniserGraph:
    """The graph less the share of weakest channels of each prunable convolution; at least one channel stays.

    A graph without such a place comes back as it was. Raises ConfigError for a share outside [0, 1).
    """
    if not 0 <= share < 1:
        raise ConfigError(f"share of channels is {share}; set it at 0 or more, below 1")
    model = onnx.load_model_from_string(graph.onnx_bytes)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for chain in prunable_chains(model):
        strength = _strength(chain, tensors)
        gone = min(int(share * chain.channels), chain.channels - 1)
        if chain.channels % _BLOCK == 0:
            gone -= gone % _BLOCK
        kept = np.sort(np.argsort(strength, kind="stable")[gone:])
        for name in (chain.first, *chain.along):
            _take(tensors[name], kept, axis=0)
        _take(tensors[chain.last], kept, axis=1)
        for node in model.graph.node:
            if node.op_type == "Conv" and node.input[1] in chain.depthwise:
                next(item for item in node.attribute if item.name == "group").i = len(kept)
    del model.graph.value_info[:]
    return checked_graph(model, dimension=graph.dimension)


def prunable_chains(model: onnx.ModelProto) -> list[Chain]:
    """Where channels can leave; no tensor is shared between two places of the graph."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    fixed = {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv" and _group(node) == 1 and node.input[1] in tensors:
            chain = _follow(node, tensors, readers, outputs, fixed)
            if chain is not None:
                found.append(chain)
    return found


def _follow(
    start: onnx.NodeProto,
    tensors: dict[str, onnx.TensorProto],
    readers: dict[str, list[onnx.NodeProto]],
    outputs: set[str],
    fixed: set[str],
) -> Chain | None:
    """Walk from a convolution to the next; None where its channels branch, end, or meet an unknown layer."""
    channels = tensors[start.input[1]].dims[0]
    along = [name for name in start.input[2:3] if name]
    depthwise: list[str] = []
    norm_scale: str | None = None
    node = start
    while True:
        name = node.output[0]
        after = readers.get(name, [])
        if len(after) != 1 or name in outputs:
            return None
        node = after[0]
        if node.op_type == "Conv" and _group(node) == 1:
            touched = [start.input[1], node.input[1], *along]
            if node.input[1] not in tensors or any(len(readers[tensor]) != 1 for tensor in touched):
                return None
            return Chain(
                first=start.input[1],
                channels=channels,
                along=tuple(along),
                depthwise=tuple(depthwise),
                norm_scale=norm_scale,
                last=node.input[1],
            )
        if node.op_type == "Conv" and _group(node) == channels and tensors[node.input[1]].dims[0] == channels:
            depthwise.append(node.input[1])
            norm_scale = None
            along += [item for item in node.input[1:3] if item]
        elif node.op_type in _PER_CHANNEL:
            names = [node.input[i] for i in _PER_CHANNEL[node.op_type]]
            if any(item not in tensors for item in names):
                return None
            # One slope for all channels follows nobody.
            along += [item for item in names if tensors[item].dims[0] == channels]
            norm_scale = names[0] if node.op_type == "BatchNormalization" else norm_scale
        elif node.op_type not in _ELEMENTWISE or any(
            item and item not in (name, *tensors, *fixed) for item in node.input
        ):
            return None


def _strength(chain: Chain, tensors: dict[str, onnx.TensorProto]) -> NDArray[np.float32]:
    """How much each channel can matter, (channels,)."""

    def norms(name: str) -> NDArray[np.float32]:
        weight = np.abs(numpy_helper.to_array(tensors[name]))
        return np.asarray(weight.reshape(len(weight), -1).sum(axis=1), dtype=np.float32)

    makers = (chain.norm_scale,) if chain.norm_scale is not None else (chain.first, *chain.depthwise)
    reading = np.abs(numpy_helper.to_array(tensors[chain.last])).sum(axis=(0, 2, 3))
    return np.asarray(np.prod([reading, *(norms(name) for name in makers)], axis=0), dtype=np.float32)


def _group(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "group"), 1)


def _take(tensor: onnx.TensorProto, kept: NDArray[np.intp], *, axis: int) -> None:
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value.take(kept, axis=axis)), tensor.name))

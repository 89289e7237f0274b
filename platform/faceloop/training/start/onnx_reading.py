"""An ONNX recogniser read as a graph of our layers, with its weights.

`onnx2torch` would do it, but asks for torchvision; recognisers use some twenty operators (`onnx_layers.py`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor

from faceloop.training.backbones.graph import Graph, Step
from faceloop.training.start.onnx_layers import layer_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadGraph:
    """`state`: the state dict of `GraphBackbone(graph)`, float32 on the CPU."""

    graph: Graph
    state: dict[str, Tensor]


def read_onnx_graph(model_bytes: bytes) -> ReadGraph:
    """A folded model (`vision.fold.fold_model`: one input, weights float32, free batch) as layers and weights.

    Weights that the file shares between two layers become two. Raises ModelCorrupt naming the first operator or
    setting that has no layer here.
    """
    graph = onnx.load_model_from_string(model_bytes).graph
    constants = _constants(graph)
    source, result = graph.input[0].name, graph.output[0].name
    ranks = {source: 4}
    steps: list[Step] = []
    state: dict[str, Tensor] = {}
    for node in graph.node:
        if node.op_type == "Constant" or node.output[0] in constants:
            continue
        layer = layer_of(node, constants, ranks)
        inputs = layer.inputs or (node.input[0],)
        prefix = f"layers.{len(steps):03d}_{layer.operator}."
        for name, array in layer.weights.items():
            dtype = torch.int64 if array.dtype == np.int64 else torch.float32
            state[prefix + name] = torch.tensor(np.array(array), dtype=dtype)  # a copy: the file's is read-only
        steps.append(Step(operator=layer.operator, arguments=layer.arguments, inputs=inputs, output=node.output[0]))
        ranks[node.output[0]] = ranks[inputs[0]] if layer.rank is None else layer.rank
        if node.output[0] == result:
            break
    return ReadGraph(graph=Graph(input=source, output=result, steps=tuple(steps)), state=state)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            values[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Identity" and node.input[0] in values:  # how PyTorch's exporter shares equal weights
            values[node.output[0]] = values[node.input[0]]
    return values

"""Writing small ONNX graphs node by node, so that what they compute can be read from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
_IR_VERSION = 10  # of ONNX files with this opset
Dims = Sequence[int | str]


@dataclass(slots=True)
class Tape:
    """A graph under way. Names are made from `prefix` and the place, so that equal calls give equal bytes."""

    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output; returns the name of that output."""
        name = f"{self.prefix}{len(self.nodes)}_{operator}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def named(self, operator: str, output: str, *inputs: str, **attributes: Any) -> None:
        """One node whose output has a name of its own: an output of the graph."""
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))

    def constant(self, value: NDArray[np.generic]) -> str:
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def float32(self, *values: float) -> str:
        """A constant vector; of one value it is (1,), which broadcasts."""
        return self.constant(np.array(values, np.float32))

    def float64(self, *values: float) -> str:
        return self.constant(np.array(values, np.float64))

    def int64(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def cast(self, name: str, to: int) -> str:
        return self.add("Cast", name, to=to)

    def size_of(self, name: str, axis: int) -> str:
        """Length of an axis, int64 (1,)."""
        return self.add("Shape", name, start=axis, end=axis + 1)

    def rounded(self, name: str) -> str:
        """To the nearest whole number, halves up, as OpenCV rounds grey levels."""
        like = self.add("CastLike", self.float32(0.5), name)
        return self.add("Floor", self.add("Add", name, like))

    def model(self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> bytes:
        """The serialised model, checked with its shapes. Raises onnx's own errors: a bug here, not of the caller."""
        graph = helper.make_graph(self.nodes, name, list(inputs), list(outputs), initializer=self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="faceloop"
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def tensor(name: str, kind: int, dims: Dims) -> onnx.ValueInfoProto:
    """An input or output of a graph; a text among `dims` is a free size."""
    return helper.make_tensor_value_info(name, kind, list(dims))


def float32_tensor(name: str, *dims: int | str) -> onnx.ValueInfoProto:
    return tensor(name, TensorProto.FLOAT, dims)


def image_tensor(name: str = "IMAGE") -> onnx.ValueInfoProto:
    """A decoded picture: uint8 RGB (height, width, 3)."""
    return tensor(name, TensorProto.UINT8, ("height", "width", 3))

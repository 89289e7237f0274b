"""Magnitude pruning on the ONNX's weights: which weights are least, and the graph without them.

Unstructured: the smallest |w| of all layers together become zero. The file and its speed on a CPU stay what they are;
what it buys is a file that packs smaller, and sparsity that a target may use. `channels.py` removes whole channels.
Zhu & Gupta, "To prune, or not to prune" (2017) for the schedule, whose steps a trainer fine-tunes between: it keeps
`Masks` and multiplies them into its weights after each step, by the same names.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.params import PruningScope
from facestore.errors import ConfigError, DataError

BoolArray = NDArray[np.bool_]
_WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masks:
    """By weight's name: True where a weight is kept; shapes as the weights'."""

    kept: Mapping[str, BoolArray]

    @property
    def sparsity(self) -> float:
        """Share of the masked layers' weights that are gone."""
        total = sum(mask.size for mask in self.kept.values())
        return 1 - sum(int(mask.sum()) for mask in self.kept.values()) / total if total else 0.0


def sparsity_at(step: int, *, steps: int, final: float) -> float:
    """Cubic schedule from 0 to `final` over `steps` (step 0 … steps): fast while weights are plenty, then slow."""
    if not 0 <= final < 1 or steps < 1:
        raise ConfigError(f"sparsity {final} in {steps} steps; set 0 <= sparsity < 1 and at least one step")
    return final * (1 - (1 - min(max(step, 0), steps) / steps) ** 3)


def magnitude_masks(graph: RecogniserGraph, sparsity: float, *, scope: PruningScope) -> Masks:
    """Masks that drop the share `sparsity` in [0, 1) of the weights, smallest first, ties by place.

    `scope`: over all layers at once, or the same share of each. Which is better depends on the model: all at once
    spares a network with even layers, and empties the small-weighted layers of another. The first layer and depthwise
    ones keep theirs: few weights, much harm. Raises ConfigError for a share out of range, DataError for a graph
    without weights to drop.
    """
    if not 0 <= sparsity < 1:
        raise ConfigError(f"sparsity is {sparsity}; set it at 0 or more, below 1")
    weights = prunable_weights(onnx.load_model_from_string(graph.onnx_bytes))
    if not weights:
        raise DataError("the graph has no weights to prune; give a canonical float32 recogniser")
    magnitudes = {name: np.abs(value).ravel() for name, value in weights.items()}
    if scope == "layer":
        kept = {name: _largest(value, sparsity) for name, value in magnitudes.items()}
    else:
        merged = _largest(np.concatenate(list(magnitudes.values())), sparsity)
        ends = np.cumsum([value.size for value in magnitudes.values()])
        kept = dict(zip(magnitudes, np.split(merged, ends[:-1]), strict=True))
    return Masks(kept={name: mask.reshape(weights[name].shape) for name, mask in kept.items()})


def _largest(magnitudes: NDArray[np.float32], sparsity: float) -> BoolArray:
    """True for all but the smallest share; ties fall by place, not by chance."""
    kept = np.ones(magnitudes.size, dtype=np.bool_)
    kept[np.argsort(magnitudes, kind="stable")[: int(sparsity * magnitudes.size)]] = False
    return kept


def prune(graph: RecogniserGraph, masks: Masks) -> RecogniserGraph:
    """The graph with masked weights at zero. Raises DataError for a mask that fits no weight of the graph."""
    model = onnx.load_model_from_string(graph.onnx_bytes)
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, mask in masks.kept.items():
        if name not in by_name or tuple(by_name[name].dims) != mask.shape:
            raise DataError(f"mask {name!r} {mask.shape} fits no weight of the graph; make masks from this graph")
        weight = numpy_helper.to_array(by_name[name])
        by_name[name].CopyFrom(numpy_helper.from_array(np.where(mask, weight, 0).astype(weight.dtype), name))
    return checked_graph(model, dimension=graph.dimension)


def prunable_weights(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Float32 weights (second inputs) of products and of convolutions but the first and the depthwise, by name, in
    the graph's order."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    weighted = [node for node in model.graph.node if node.op_type in _WEIGHTED and node.input[1] in tensors]
    names = dict.fromkeys(node.input[1] for node in weighted[1:] if not _is_grouped(node))
    return {
        name: np.asarray(numpy_helper.to_array(tensors[name]), dtype=np.float32)
        for name in names
        if tensors[name].data_type == onnx.TensorProto.FLOAT
    }


def _is_grouped(node: onnx.NodeProto) -> bool:
    return any(item.name == "group" and item.i > 1 for item in node.attribute)

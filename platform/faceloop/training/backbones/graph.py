"""A backbone whose layers and wiring come from a model file: any recogniser's ONNX graph, made trainable.

The graph is a JSON value (steps in order of execution), so that `architecture.json` alone rebuilds the module and
the weights come from a safetensors file like those of any other backbone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from faceloop.training.backbones.operators import build_layer
from facestore.errors import ConfigError, ModelCorrupt


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One layer: `operator` and `arguments` as `operators.build_layer` takes them, values by name in and out."""

    operator: str
    arguments: Mapping[str, Any]
    inputs: tuple[str, ...]
    output: str

    def to_json(self) -> dict[str, Any]:
        """JSON values, equal to what comes back from a file."""
        arguments = dict(self.arguments)
        return {"operator": self.operator, "arguments": arguments, "inputs": [*self.inputs], "output": self.output}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Steps in order of execution, from the batch of crops `input` to the features `output`."""

    input: str
    output: str
    steps: tuple[Step, ...]

    def to_arguments(self) -> dict[str, Any]:
        """What `Architecture.arguments` holds; `graph_from_arguments` reads it."""
        return {"input": self.input, "output": self.output, "steps": [step.to_json() for step in self.steps]}


class GraphBackbone(nn.Module):
    """Runs a graph's steps. Layers are named `layers.<place>_<operator>`, with PyTorch's own parameter names."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._steps = [
            (f"{place:03d}_{step.operator}", step.inputs, step.output) for place, step in enumerate(graph.steps)
        ]
        layers = zip(self._steps, graph.steps, strict=True)
        self.layers = nn.ModuleDict({name: build_layer(s.operator, s.arguments) for (name, _, _), s in layers})
        self._input, self._output = graph.input, graph.output
        self._released = _released(graph.steps, keep=graph.output)

    def forward(self, crops: Tensor) -> Tensor:
        values = {self._input: crops}
        for (name, inputs, output), released in zip(self._steps, self._released, strict=True):
            values[output] = self.layers[name](*(values[item] for item in inputs))
            for item in released:
                del values[item]
        return values[self._output]


def _released(steps: Sequence[Step], *, keep: str) -> list[list[str]]:
    """For each step, the values that nobody reads after it: memory of a batch falls to what is still needed."""
    last = {item: place for place, step in enumerate(steps) for item in step.inputs if item != keep}
    return [sorted(item for item, at in last.items() if at == place) for place in range(len(steps))]


def graph_from_arguments(arguments: Mapping[str, Any], *, dimension: int) -> GraphBackbone:
    """The module of a stored graph. Raises ConfigError for an empty one, ModelCorrupt for one that is broken."""
    if not arguments:
        raise ConfigError(
            "a backbone of kind 'graph' is read from a pack; set train's start to the pack, or choose mobilefacenet"
        )
    try:
        steps = tuple(
            Step(
                operator=str(item["operator"]),
                arguments=dict(item["arguments"]),
                inputs=tuple(map(str, item["inputs"])),
                output=str(item["output"]),
            )
            for item in arguments["steps"]
        )
        graph = Graph(input=str(arguments["input"]), output=str(arguments["output"]), steps=steps)
    except (KeyError, TypeError) as error:
        raise ModelCorrupt(f"stored graph lacks {error}; take architecture.json of the same training run") from error
    known = {graph.input}
    for step in graph.steps:
        if not known.issuperset(step.inputs):
            raise ModelCorrupt(f"stored graph reads {step.inputs} before it is made; take the file as it was written")
        known.add(step.output)
    if graph.output not in known:
        raise ModelCorrupt(f"stored graph never makes its output of dimension {dimension}; take the file as written")
    return GraphBackbone(graph)

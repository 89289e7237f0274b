"""Which backbone: a value that goes into a file beside the weights, and the one function that builds from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import torch
from torch import nn

from faceloop.training.backbones.graph import graph_from_arguments
from faceloop.training.backbones.iresnet import iresnet
from faceloop.training.backbones.mobilefacenet import mobilefacenet
from facestore.errors import ConfigError, ModelCorrupt

BackboneKind = Literal["mobilefacenet", "iresnet18", "iresnet50", "iresnet100", "graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A backbone without its weights. `arguments`: JSON values of the kind's builder (`graph`: the graph itself)."""

    kind: BackboneKind
    dimension: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Sorted keys and a newline at the end: equal values are equal bytes."""
        value = {"kind": self.kind, "dimension": self.dimension, "arguments": dict(self.arguments)}
        return json.dumps(value, sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ModelCorrupt for a text that `to_json` did not write."""
        try:
            value = json.loads(text)
            kind, dimension, arguments = value["kind"], int(value["dimension"]), dict(value["arguments"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelCorrupt(f"not an architecture ({error!r}); take the file of the same training run") from error
        if kind not in get_args(BackboneKind):
            raise ModelCorrupt(
                f"backbone kind {kind!r} is unknown; this version has {', '.join(get_args(BackboneKind))}"
            )
        return cls(kind=kind, dimension=dimension, arguments=arguments)


def build_backbone(architecture: Architecture, *, seed: int = 0) -> nn.Module:
    """(B, 3, 112, 112) float32, normalised as the pack says, to raw features (B, dimension) float32.

    Weights by `seed` alone (PyTorch's global generator is left as it was); those of a `graph` are zero until a
    state dict is loaded. Raises ConfigError for a dimension or arguments that the kind does not take.
    """
    if architecture.dimension < 1:
        raise ConfigError(f"dimension of the backbone is {architecture.dimension}; set it to 1 or more (128, 512)")
    if architecture.kind != "graph" and architecture.arguments:
        raise ConfigError(f"{architecture.kind} takes no arguments, found {sorted(architecture.arguments)}; drop them")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match architecture.kind:
            case "mobilefacenet":
                return mobilefacenet(architecture.dimension)
            case "iresnet18":
                return iresnet((2, 2, 2, 2), dimension=architecture.dimension)
            case "iresnet50":
                return iresnet((3, 4, 14, 3), dimension=architecture.dimension)
            case "iresnet100":
                return iresnet((3, 13, 30, 3), dimension=architecture.dimension)
            case "graph":
                return graph_from_arguments(architecture.arguments, dimension=architecture.dimension)

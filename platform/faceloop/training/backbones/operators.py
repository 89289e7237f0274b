"""The layers that recognisers' graphs are made of, each a PyTorch module built from plain JSON values.

Layers with weights are PyTorch's own classes, so that whoever groups, freezes or prunes parameters by class finds
them. The rest are one-line modules, here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facestore.errors import ModelCorrupt


class Clip(nn.Module):
    """Values held between `low` and `high` (None: no bound)."""

    def __init__(self, low: float | None, high: float | None) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, values: Tensor) -> Tensor:
        return torch.clamp(values, self.low, self.high)


class Reshape(nn.Module):
    """To `sizes`; the first axis is the batch and stays."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, values: Tensor) -> Tensor:
        return values.reshape(values.shape[0], *self.sizes)


class Transpose(nn.Module):
    """Axes in the order `axes`, the batch first."""

    def __init__(self, axes: list[int]) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, values: Tensor) -> Tensor:
        return values.permute(self.axes)


class Length(nn.Module):
    """Euclidean length along `axis`, the axis kept."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, values: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(values, dim=self.axis, keepdim=True)
        return lengths


class Arithmetic(nn.Module):
    """`add`, `sub`, `mul` or `div` of two values, or of one value and a constant of the graph.

    A constant of one number (a pixel's mean or scale) is a buffer and stays; a larger one (a bias after a matrix
    product) is a parameter and learns. `is_constant_first`: constant − value, constant ÷ value.
    """

    def __init__(self, operation: str, *, constant_shape: list[int] | None, is_constant_first: bool) -> None:
        super().__init__()
        self.operation, self.is_constant_first = operation, is_constant_first
        if constant_shape is None:
            self.constant: Tensor | None = None
        elif torch.Size(constant_shape).numel() == 1:
            self.register_buffer("constant", torch.zeros(constant_shape))
        else:
            self.constant = nn.Parameter(torch.zeros(constant_shape))

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        other = second if self.constant is None else self.constant
        if other is None:
            raise ModelCorrupt(f"{self.operation} got one value and has no constant; build the graph again")
        left, right = (other, first) if self.is_constant_first else (first, other)
        match self.operation:
            case "add":
                return left + right
            case "sub":
                return left - right
            case "mul":
                return left * right
            case _:
                return left / right


def _batch_norm(*, channels: int, epsilon: float, momentum: float, rank: int) -> nn.Module:
    kind = nn.BatchNorm1d if rank == 2 else nn.BatchNorm2d
    return kind(channels, eps=epsilon, momentum=momentum)


def _convolution(*, channels: list[int], kernel: list[int], pads: list[int], **sizes: Any) -> nn.Module:
    top, left, bottom, right = pads
    is_even = (top, left) == (bottom, right)
    layer = nn.Conv2d(channels[0], channels[1], (kernel[0], kernel[1]), padding=(top, left) if is_even else 0, **sizes)
    return layer if is_even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), layer)


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "conv": _convolution,
    "batch_norm": _batch_norm,
    "prelu": nn.PReLU,
    "linear": nn.Linear,
    "dropout": nn.Dropout,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
    "flatten": nn.Flatten,
    "average_pool": nn.AvgPool2d,
    "global_average_pool": nn.AdaptiveAvgPool2d,
    "arithmetic": Arithmetic,
    "clip": Clip,
    "reshape": Reshape,
    "transpose": Transpose,
    "length": Length,
}


def build_layer(operator: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The layer of one step of a graph. Raises ModelCorrupt for an operator or arguments that are not ours."""
    try:
        return _BUILDERS[operator](**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelCorrupt(f"graph step {operator!r} with {dict(arguments)} is not ours ({error!r})") from error

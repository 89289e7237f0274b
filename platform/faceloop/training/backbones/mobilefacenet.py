"""MobileFaceNet (Chen et al. 2018): the small network for phones and for training on a CPU.

Inverted residuals of MobileNetV2 with PReLU; the end is a depthwise convolution over the whole last map (each place
of an aligned face has a weight of its own), then a linear layer.
"""

import torch
from torch import Tensor, nn

# (expansion, width, repeats, stride) of each row of the paper's table 1.
_ROWS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
_STEM_WIDTH = 64
_TOP_WIDTH = 512


def _convolution(width_in: int, width: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padding = kernel // 2 if kernel < 7 else 0
    return [
        nn.Conv2d(width_in, width, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(width),
    ]


class _Bottleneck(nn.Module):
    def __init__(self, width_in: int, width: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = width_in * expansion
        self.has_shortcut = stride == 1 and width_in == width
        self.layers = nn.Sequential(
            *_convolution(width_in, inner, 1),
            nn.PReLU(inner),
            *_convolution(inner, inner, 3, stride=stride, groups=inner),
            nn.PReLU(inner),
            *_convolution(inner, width, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner: Tensor = self.layers(maps)
        return maps + inner if self.has_shortcut else inner


class MobileFaceNet(nn.Module):
    """(B, 3, 112, 112) to (B, dimension); about one million parameters at dimension 128."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, _STEM_WIDTH, 3, stride=2),
            nn.PReLU(_STEM_WIDTH),
            *_convolution(_STEM_WIDTH, _STEM_WIDTH, 3, groups=_STEM_WIDTH),
            nn.PReLU(_STEM_WIDTH),
        )
        blocks: list[nn.Module] = []
        width_in = _STEM_WIDTH
        for expansion, width, repeats, first_stride in _ROWS:
            for place in range(repeats):
                stride = first_stride if place == 0 else 1
                blocks.append(_Bottleneck(width_in, width, expansion=expansion, stride=stride))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.top = nn.Sequential(*_convolution(width_in, _TOP_WIDTH, 1), nn.PReLU(_TOP_WIDTH))
        self.whole_map = nn.Sequential(*_convolution(_TOP_WIDTH, _TOP_WIDTH, 7, groups=_TOP_WIDTH))
        self.linear = nn.Linear(_TOP_WIDTH, dimension, bias=False)
        self.features = nn.BatchNorm1d(dimension)

    def forward(self, crops: Tensor) -> Tensor:
        maps = self.whole_map(self.top(self.blocks(self.stem(crops))))
        features: Tensor = self.features(self.linear(torch.flatten(maps, 1)))
        return features


def mobilefacenet(dimension: int) -> MobileFaceNet:
    """A new network; convolutions by He's rule for the way out, from PyTorch's global generator."""
    network = MobileFaceNet(dimension)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network

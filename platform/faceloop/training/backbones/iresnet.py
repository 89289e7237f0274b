"""IResNet: the residual network of ArcFace (Deng et al. 2019), as InsightFace trains it.

It differs from the usual ResNet where faces need it: stride 1 at the start (112 pixels are few), batch norm before
the first convolution of a block, PReLU, and a fully connected layer on the last 7 × 7 in place of pooling, because
where a feature lies in an aligned face carries meaning. Parameters have the names of InsightFace's checkpoints.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_BN_EPSILON = 1e-5
_WIDTHS = (64, 128, 256, 512)


class _Block(nn.Module):
    def __init__(self, width_in: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in, eps=_BN_EPSILON)
        self.conv1 = nn.Conv2d(width_in, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=_BN_EPSILON)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps=_BN_EPSILON)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or width_in != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width, eps=_BN_EPSILON)
            )

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.prelu(self.bn2(self.conv1(self.bn1(maps))))
        kept = maps if self.downsample is None else self.downsample(maps)
        summed: Tensor = self.bn3(self.conv2(inner)) + kept
        return summed


class IResNet(nn.Module):
    """(B, 3, 112, 112) to (B, dimension); `blocks` residual blocks in each of four stages, each halving the side."""

    def __init__(self, blocks: Sequence[int], *, dimension: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0], eps=_BN_EPSILON)
        self.prelu = nn.PReLU(_WIDTHS[0])
        inputs = (_WIDTHS[0], *_WIDTHS[:-1])
        stages = [_stage(*sizes) for sizes in zip(inputs, _WIDTHS, blocks, strict=True)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.bn2 = nn.BatchNorm2d(_WIDTHS[-1], eps=_BN_EPSILON)
        self.fc = nn.Linear(_WIDTHS[-1] * 7 * 7, dimension)
        self.features = nn.BatchNorm1d(dimension, eps=_BN_EPSILON)
        # A scale of 1 that does not learn: the loss looks at directions, and a free scale only drifts.
        nn.init.ones_(self.features.weight).requires_grad_(False)

    def forward(self, crops: Tensor) -> Tensor:
        maps = self.prelu(self.bn1(self.conv1(crops)))
        maps = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(maps)))))
        features: Tensor = self.features(self.fc(torch.flatten(maps, 1)))
        return features


def _stage(width_in: int, width: int, blocks: int) -> nn.Sequential:
    first = _Block(width_in, width, stride=2)
    return nn.Sequential(first, *(_Block(width, width, stride=1) for _ in range(blocks - 1)))


def iresnet(blocks: Sequence[int], *, dimension: int) -> IResNet:
    """A new network; convolutions N(0, 0.1) as InsightFace starts them, from PyTorch's global generator."""
    network = IResNet(blocks, dimension=dimension)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0.0, 0.1)
    return network

"""Heads on embeddings: of a face, of a face's pixels through the recogniser, and of a tracklet in time order."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from faceloop.training.attributes.targets import Head

_LEAST_LENGTH = 1e-6


class _Outputs(nn.Module):
    """One linear layer a head; numbers come out in their own unit."""

    def __init__(self, width: int, heads: Sequence[Head]) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, head.width) for head in heads)
        self.scales = [(head.spread, head.mean) for head in heads]

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return tuple(
            linear(features) * spread + mean for linear, (spread, mean) in zip(self.linears, self.scales, strict=True)
        )


class FaceHeads(nn.Module):
    """Unit embeddings (B, D) to, for each head in order, logits (B, values) or a number (B, 1)."""

    def __init__(self, dimension: int, heads: Sequence[Head], *, hidden_units: int, seed: int) -> None:
        super().__init__()
        self.scale = dimension**0.5  # coordinates of unit vectors are small: the rate must not depend on how many
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = nn.Linear(dimension, hidden_units) if hidden_units else None
            self.outputs = _Outputs(hidden_units or dimension, heads)

    @property
    def shared(self) -> Tensor | None:
        """The last weights that all heads use; None without a trunk."""
        return None if self.trunk is None else self.trunk.weight

    def forward(self, embeddings: Tensor) -> tuple[Tensor, ...]:
        features = embeddings * self.scale
        if self.trunk is not None:
            features = functional.relu(self.trunk(features))
        found: tuple[Tensor, ...] = self.outputs(features)
        return found


class PixelHeads(nn.Module):
    """Pixels as the pack wants them (B, 3, 112, 112), through the recogniser, to the same outputs."""

    def __init__(self, backbone: nn.Module, heads: FaceHeads) -> None:
        super().__init__()
        self.backbone, self.heads = backbone, heads

    @property
    def shared(self) -> Tensor | None:
        return self.heads.shared

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = self.heads(functional.normalize(self.backbone(pixels)))
        return found


class ClipHeads(nn.Module):
    """A tracklet's unit embeddings in time order (B, T, D), rows of zeros after the last one, to the same outputs.

    A GRU (Cho et al. 2014) reads forwards, so that padding cannot reach back, and its state after the last face
    speaks for the clip.
    """

    def __init__(self, dimension: int, heads: Sequence[Head], *, hidden_units: int, seed: int) -> None:
        super().__init__()
        self.scale = dimension**0.5
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.gru = nn.GRU(dimension, hidden_units, batch_first=True)
            self.outputs = _Outputs(hidden_units, heads)

    @property
    def shared(self) -> Tensor | None:
        return dict(self.gru.named_parameters())["weight_hh_l0"]

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        states, _ = self.gru(clips * self.scale)
        is_face = (clips.abs().sum(dim=2) > _LEAST_LENGTH).to(clips.dtype)  # (B, T)
        following = torch.cat([is_face[:, 1:], torch.zeros_like(is_face[:, :1])], dim=1)
        is_last = is_face * (1 - following)
        found: tuple[Tensor, ...] = self.outputs((states * is_last[:, :, None]).sum(dim=1))
        return found


def unfreeze_last(backbone: nn.Module, layers: int) -> int:
    """Only the last `layers` modules that have weights of their own learn; returns how many parameters that is."""
    backbone.requires_grad_(False)
    weighted = [
        module
        for module in backbone.modules()
        if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and list(module.parameters(recurse=False))
    ]
    for module in weighted[-layers:] if layers else []:
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
    return sum(value.numel() for value in backbone.parameters() if value.requires_grad)

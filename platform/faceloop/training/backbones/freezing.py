"""Batch norms that stay as they were: what a fine-tune on few or odd pictures needs."""

from typing import Self

from torch import nn


class FrozenBatchNorm1d(nn.BatchNorm1d):
    """Always normalises by the stored mean and variance; scale and shift do not learn."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Always normalises by the stored mean and variance; scale and shift do not learn."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def freeze_batch_norms(module: nn.Module) -> nn.Module:
    """The same module, in training mode, its batch norms replaced by frozen ones under the same names.

    Running means of degraded crops would move every layer at once, and small batches make them noisy.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            kind = FrozenBatchNorm1d if isinstance(child, nn.BatchNorm1d) else FrozenBatchNorm2d
            frozen = kind(child.num_features, eps=child.eps, momentum=child.momentum)
            frozen.load_state_dict(child.state_dict())
            setattr(module, name, frozen.requires_grad_(False))
        else:
            freeze_batch_norms(child)
    return module.train()

"""A backbone between its start and what training made of it: less forgotten of what the start could do."""

from collections.abc import Iterable, Mapping
from itertools import islice

import torch
from torch import Tensor, nn

from faceloop.training.backbones.freezing import FrozenBatchNorm1d, FrozenBatchNorm2d
from faceloop.training.learner import Batching
from faceloop.training.preparing import Preparation

_MOST_BATCHES = 100  # that running means and variances are measured on anew


def weights_of(backbone: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and buffers, which training leaves alone."""
    return {name: value.detach().clone() for name, value in backbone.state_dict().items()}


def blend(backbone: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Move the weights to `share` of the way from `start` to where they are (WiSE-FT, Wortsman et al., CVPR 2022).

    0 is the start, 1 the trained model, both to the bit. Counters stay. Running means and variances of batch norms
    that were not frozen belong to neither model in between: `recalibrate` afterwards.
    """
    with torch.no_grad():
        for name, value in backbone.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.lerp(start[name].to(value.device), value, share))


@torch.no_grad()
def recalibrate(
    backbone: nn.Module, batches: Iterable[Batching], preparation: Preparation, device: torch.device
) -> None:
    """Measure running means and variances anew, as plain averages over up to 100 batches; frozen ones stay."""
    frozen = FrozenBatchNorm1d | FrozenBatchNorm2d
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    moving = [module for module in norms if not isinstance(module, frozen)]
    if not moving:
        return
    momenta = [module.momentum for module in moving]
    for module in moving:
        module.reset_running_stats()
        module.momentum = None  # the plain average
    backbone.train()
    for batch in islice(batches, _MOST_BATCHES):
        backbone(preparation.pixels(batch.images.to(device)))
    for module, momentum in zip(moving, momenta, strict=True):
        module.momentum = momentum

"""How losses of several tasks become one, so that none drowns the others."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from faceloop.training.attributes.attribute_params import BalancingParams
from faceloop.training.attributes.targets import Head

_LEAST = 1e-8
_GRADNORM_RATE = 0.1  # of the way to the wanted norm, in each step
_HIGHEST_RATIO = 100.0


class FixedWeights(nn.Module):
    """Weights that do not learn, (tasks,)."""

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32))

    def forward(self, losses: Tensor, is_present: Tensor, shared: Tensor | None) -> Tensor:
        return (losses * self.get_buffer("weights") * is_present).sum()


class UncertaintyWeights(nn.Module):
    """Each task has a learnt log variance s: exp(-s)·L + s/2, and exp(-s)/2·L + s/2 for numbers (Kendall et al. 2018).

    `prior` are weights (tasks,) on top.
    """

    def __init__(self, is_number: Sequence[bool], prior: Sequence[float]) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(len(is_number)))
        self.register_buffer("factors", torch.tensor([0.5 if number else 1.0 for number in is_number]))
        self.register_buffer("prior", torch.tensor(prior, dtype=torch.float32))

    def forward(self, losses: Tensor, is_present: Tensor, shared: Tensor | None) -> Tensor:
        each = self.get_buffer("factors") * torch.exp(-self.log_variances) * losses + self.log_variances / 2
        return (each * self.get_buffer("prior") * is_present).sum()


class GradNorm(nn.Module):
    """Weights under which all tasks move the shared weights alike, those that lag more (Chen et al. 2018).

    Their fixed point (weighted gradient norm = mean norm · relative training rate^alpha) is approached by a share of
    the way in each step, as a factor: no further learning rate, and no weight below zero. Weights sum to the tasks.
    """

    def __init__(self, tasks: int, *, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("weights", torch.ones(tasks))
        self.register_buffer("first", torch.full((tasks,), math.nan))

    def forward(self, losses: Tensor, is_present: Tensor, shared: Tensor | None) -> Tensor:
        if self.training and shared is not None and int(is_present.sum()) > 1:
            self._adjust(losses, is_present, shared)
        return (losses * self.get_buffer("weights") * is_present).sum()

    def _adjust(self, losses: Tensor, is_present: Tensor, shared: Tensor) -> None:
        weights, first = self.get_buffer("weights"), self.get_buffer("first")
        now = losses.detach()
        first.copy_(torch.where(first.isnan() & is_present, now, first))
        here = [int(task) for task in torch.nonzero(is_present).flatten()]
        norms = torch.stack([torch.autograd.grad(losses[task], shared, retain_graph=True)[0].norm() for task in here])
        weighted = weights[here] * norms
        rate = now[here] / first[here].clamp_min(_LEAST)
        wanted = weighted.mean() * (rate / rate.mean().clamp_min(_LEAST)).pow(self.alpha)
        ratio = (wanted / weighted.clamp_min(_LEAST)).clamp(1 / _HIGHEST_RATIO, _HIGHEST_RATIO)
        weights[here] = weights[here] * ratio.pow(_GRADNORM_RATE)
        weights.mul_(len(weights) / weights.sum())


def balancing_of(params: BalancingParams, heads: Sequence[Head]) -> FixedWeights | UncertaintyWeights | GradNorm:
    """As params say, for these heads in this order."""
    weights = [params.weights.get(head.name, 1.0) for head in heads]
    match params.kind:
        case "fixed":
            return FixedWeights(weights)
        case "uncertainty":
            return UncertaintyWeights([head.kind == "number" for head in heads], weights)
        case "gradnorm":
            return GradNorm(len(heads), alpha=params.gradnorm_alpha)

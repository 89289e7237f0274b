"""Softmax cross-entropy over classes that lie on several ranks, and the exchange of features it needs.

Two `autograd` functions, because the collectives must appear in forward and backward in one fixed order, and
because the whole matrix of probabilities shall exist once, not three times.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What all ranks brought, in the order of ranks: features (B, D), class_indices (B,) int64, weights (B,)."""

    features: Tensor
    class_indices: Tensor
    weights: Tensor


class _GatherFeatures(torch.autograd.Function):
    """(B_local, D) of each rank to (ΣB, D); the gradient is summed over ranks and times their number.

    Each rank's loss has only its classes' share of a feature's gradient: the sum is the whole. Times the number
    of ranks, because DistributedDataParallel will divide by it.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        return _all_gather(features, sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        first = sum(ctx.sizes[: ctx.rank])
        own = gradient[first : first + ctx.sizes[ctx.rank]]
        return own * len(ctx.sizes), None, None


def _all_gather(values: Tensor, sizes: list[int]) -> Tensor:
    """Rows of all ranks; the shorter ones are padded on the way, as the collective wants equal shapes."""
    padded = values.new_zeros((max(sizes), *values.shape[1:]))
    padded[: len(values)] = values
    received = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(received, padded)
    return torch.cat([part[:size] for part, size in zip(received, sizes, strict=True)])


def gather_batch(features: Tensor, class_indices: Tensor, weights: Tensor, *, rank: int, world_size: int) -> Gathered:
    """The batches of all ranks, which may differ in length. One rank: what it was given, and no collective."""
    if world_size == 1:
        return Gathered(features=features, class_indices=class_indices, weights=weights)
    own = torch.tensor([len(features)], device=features.device)
    lengths = [torch.zeros_like(own) for _ in range(world_size)]
    dist.all_gather(lengths, own)
    sizes = [int(length) for length in torch.cat(lengths).tolist()]
    # float64 holds class indices up to 2⁵³ exactly: one small message in place of two.
    notes = _all_gather(torch.stack([class_indices.double(), weights.double()], dim=1), sizes)
    gathered: Tensor = _GatherFeatures.apply(features, sizes, rank)  # type: ignore[no-untyped-call]
    return Gathered(features=gathered, class_indices=notes[:, 0].long(), weights=notes[:, 1].to(weights.dtype))


class _ShardedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cosines: Tensor, own_columns: Tensor, weights: Tensor, scale: float, world_size: int
    ) -> Tensor:
        logits = cosines * scale
        peaks = logits.amax(dim=1)
        if world_size > 1:
            dist.all_reduce(peaks, op=dist.ReduceOp.MAX)
        logits.sub_(peaks[:, None])
        rows = torch.nonzero(own_columns >= 0).squeeze(1)
        own = own_columns[rows]
        targets = torch.zeros_like(peaks)
        targets[rows] = logits[rows, own]
        probabilities = logits.exp_()
        sums = torch.stack([probabilities.sum(dim=1), targets])
        if world_size > 1:
            dist.all_reduce(sums)
        total = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
        probabilities.div_(sums[0][:, None])
        ctx.save_for_backward(probabilities, rows, own, weights * scale / total)
        return ((sums[0].log() - sums[1]) * weights).sum() / total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        probabilities, rows, own, factors = ctx.saved_tensors
        factors = factors * gradients[0]
        gradient = probabilities * factors[:, None]
        gradient[rows, own] -= factors[rows]
        return gradient, None, None, None, None


def sharded_cross_entropy(
    cosines: Tensor, own_columns: Tensor, weights: Tensor, *, scale: float, world_size: int
) -> Tensor:
    """Weighted mean of −log softmax(scale · cosines) at the own class, the softmax over the classes of all ranks.

    `cosines` (B, C_local) float32 (-inf: not counted), the same B rows on every rank; `own_columns` (B,) int64: the
    own class's column here, -1 where another rank has it; `weights` (B,) float32 ≥ 0. The largest logit of all ranks
    is taken off before the exponential, so that no scale overflows. Equal on all ranks; 0 where all weights are 0.
    """
    loss: Tensor = _ShardedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        cosines, own_columns, weights, scale, world_size
    )
    return loss

"""Losses of heads, each alone, over the rows that anybody answered."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faceloop.training.attributes.targets import Head, columns_of

_ANSWERED = 0.999  # a mixture with a face of which nothing was said is not answered


def head_losses(
    outputs: Sequence[Tensor], targets: Tensor, heads: Sequence[Head], *, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Losses (heads,) and whether a head has an answer in the batch (heads,) bool; 0 where it has none.

    `outputs` as heads give them, `targets` (B, columns) as `targets.target_matrix`, soft where rows were mixed.
    Classes: cross-entropy with class weights. Numbers: Huber's loss, in standard deviations of the train answers.
    """
    columns = columns_of(heads)
    losses, present = [], []
    for head, output in zip(heads, outputs, strict=True):
        where = columns[head.name]
        mask = (targets[:, where.stop] > _ANSWERED).to(output.dtype)
        if head.kind == "classes":
            soft = targets[:, where] * (1 - label_smoothing) + label_smoothing / head.width
            weights = torch.tensor(head.weights, dtype=output.dtype, device=output.device)
            each = -(soft * weights * functional.log_softmax(output, dim=1)).sum(dim=1)
        else:
            gap = (output - targets[:, where]) / head.spread
            each = functional.huber_loss(gap, torch.zeros_like(gap), reduction="none").sum(dim=1)
        losses.append((each * mask).sum() / mask.sum().clamp_min(1))
        present.append(mask.sum() > 0)
    return torch.stack(losses), torch.stack(present)

"""Training of heads, whatever they stand on: embeddings, pixels or clips."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from faceloop.training.attributes.attribute_params import BalancingParams, MixKind, RecipeParams
from faceloop.training.attributes.balancing import balancing_of
from faceloop.training.attributes.heads import ClipHeads, FaceHeads, PixelHeads
from faceloop.training.attributes.losses import head_losses
from faceloop.training.attributes.targets import Head
from faceloop.training.reading.mixing import cut_and_mixed, mixed_up

Network = FaceHeads | PixelHeads | ClipHeads
_CLIP_NORM = 5.0


def as_they_are(inputs: Tensor) -> Tensor:
    """Embeddings need no preparation."""
    return inputs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """`inputs` (n, …), `targets` (n, columns) float32 as `targets.target_matrix`."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How heads are trained."""

    heads: tuple[Head, ...]
    recipe: RecipeParams
    balancing: BalancingParams
    label_smoothing: float
    seed: int
    mix: MixKind = "none"
    mix_alpha: float = 0.2
    prepare: Callable[[Tensor], Tensor] = as_they_are


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Mean loss over train of each epoch, and the epoch that was kept."""

    losses: tuple[float, ...]
    best_epoch: int


def fit(network: Network, train: Samples, val: Samples, course: Course) -> Trained:
    """Train in place and leave the network in eval mode, as after the epoch of the least loss on val.

    Without val the last epoch stays. Rows are shuffled by the seed alone, so a thread count aside the same samples give
    the same weights.
    """
    balancing = balancing_of(course.balancing, course.heads)
    learnt = [value for value in network.parameters() if value.requires_grad]
    recipe = course.recipe
    optimiser = torch.optim.AdamW(learnt, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if uncertain := list(balancing.parameters()):
        optimiser.add_param_group({"params": uncertain, "weight_decay": 0.0})
    generator = np.random.default_rng(course.seed)
    best: tuple[float, int, dict[str, Tensor]] | None = None
    means = []
    for epoch in range(recipe.epochs):
        network.train()
        total = 0.0
        order = torch.from_numpy(generator.permutation(len(train)))
        for rows in torch.split(order, recipe.batch_size):
            inputs, targets = course.prepare(train.inputs[rows]), train.targets[rows]
            if course.mix == "mixup":
                inputs, targets = mixed_up(inputs, targets, alpha=course.mix_alpha, generator=generator)
            elif course.mix == "cutmix":
                inputs, targets = cut_and_mixed(inputs, targets, alpha=course.mix_alpha, generator=generator)
            losses, present = head_losses(
                network(inputs), targets, course.heads, label_smoothing=course.label_smoothing
            )
            loss = balancing(losses, present, network.shared)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, _CLIP_NORM)
            optimiser.step()
            total += float(losses.detach().sum()) * len(rows)
        means.append(total / len(train))
        if len(val):
            on_val = _loss_on(network, val, course)
            if best is None or on_val < best[0]:
                best = (on_val, epoch, deepcopy(network.state_dict()))
    if best is not None:
        network.load_state_dict(best[2])
    network.eval()
    return Trained(losses=tuple(means), best_epoch=best[1] if best else len(means) - 1)


@torch.no_grad()
def outputs_of(
    network: Network, inputs: Tensor, course: Course
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """What the heads say of all rows, in order: (n, width) float32 each."""
    network.eval()
    parts = [network(course.prepare(rows)) for rows in torch.split(inputs, course.recipe.batch_size)]
    if not parts:
        return [np.empty((0, head.width), np.float32) for head in course.heads]
    return [torch.cat([part[place] for part in parts]).numpy() for place in range(len(course.heads))]


def _loss_on(network: Network, samples: Samples, course: Course) -> float:
    outputs: Sequence[Tensor] = [torch.from_numpy(one) for one in outputs_of(network, samples.inputs, course)]
    losses, _ = head_losses(outputs, samples.targets, course.heads, label_smoothing=0.0)
    return float(losses.sum())

"""SGD and AdamW are torch's own; LAMB is here. What is decayed, how gradients are clipped over ranks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from faceloop.training.ranks import World
from faceloop.training.train_params import OptimiserParams

Named = tuple[str, nn.Parameter]


class Lamb(Optimizer):
    """Layer-wise adaptive rates over Adam (You et al. 2020), for very large batches.

    In groups with `is_by_row` every row is a layer of its own: class centres then move the same however they are
    divided over ranks. State of a parameter: `step`, `exp_avg`, `exp_avg_sq`.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "is_by_row": False}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        first, second = group["betas"]
        state["step"] += 1
        taken = float(state["step"])
        state["exp_avg"].mul_(first).add_(gradient, alpha=1 - first)
        state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        mean = state["exp_avg"] / (1 - first**taken)
        spread = (state["exp_avg_sq"] / (1 - second**taken)).sqrt_().add_(group["eps"])
        update = mean.div_(spread).add_(parameter, alpha=group["weight_decay"])
        trust = _trust(parameter, update, is_by_row=group["is_by_row"])
        parameter.sub_(update * trust * group["lr"])


def _trust(weight: Tensor, update: Tensor, *, is_by_row: bool) -> Tensor:
    """‖weight‖ / ‖update‖ of the layer, 1 where either is 0."""
    axes = tuple(range(1, weight.ndim)) if is_by_row and weight.ndim > 1 else tuple(range(weight.ndim))
    size, change = (
        torch.linalg.vector_norm(values, dim=axes, keepdim=True) if axes else values.abs()
        for values in (weight, update)
    )
    return torch.where((size > 0) & (change > 0), size / change.clamp_min(1e-30), torch.ones_like(size))


def build_optimiser(backbone: Sequence[Named], centres: Sequence[Named], params: OptimiserParams) -> Optimizer:
    """The optimiser over backbone and class centres, each group with its `base_rate` (what the schedule multiplies).

    Biases, normalisations and slopes (one axis) are not decayed: decay only fights what BatchNorm takes back.
    """
    wide = [parameter for _, parameter in backbone if parameter.ndim > 1]
    narrow = [parameter for _, parameter in backbone if parameter.ndim <= 1]
    rows = [parameter for _, parameter in centres]
    rate = params.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": wide, "lr": rate, "weight_decay": params.weight_decay},
        {"params": narrow, "lr": rate, "weight_decay": 0.0},
        {"params": rows, "lr": rate * params.centres_rate, "weight_decay": params.weight_decay, "is_by_row": True},
    ]
    groups = [group | {"base_rate": group["lr"]} for group in groups if group["params"]]
    match params.kind:
        case "sgd":
            return SGD(groups, lr=rate, momentum=params.momentum)
        case "adamw":
            return AdamW(groups, lr=rate, foreach=False)
        case "lamb":
            return Lamb(groups, lr=rate)


def set_rate(optimiser: Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["base_rate"] * factor


def clip_gradients(
    backbone: Sequence[nn.Parameter], centres: Sequence[nn.Parameter], *, largest: float | None, world: World
) -> float:
    """Global gradient norm before clipping; gradients are scaled down to `largest` where it is exceeded.

    The backbone is the same on every rank and counts once; centres are divided over the ranks and are summed.
    """
    device = (backbone[0] if backbone else centres[0]).device
    shared, divided = (
        sum(
            (p.grad.double().square().sum() for p in some if p.grad is not None),
            torch.zeros((), device=device).double(),
        )
        for some in (backbone, centres)
    )
    norm = float((shared + world.sum(divided)).sqrt())
    if largest is not None and norm > largest:
        for parameter in (*backbone, *centres):
            if parameter.grad is not None:
                parameter.grad.mul_(largest / norm)
    return norm


def memory_of(params: OptimiserParams) -> set[str]:
    """What an optimiser of this kind remembers of each parameter."""
    if params.kind == "sgd":
        return {"momentum_buffer"} if params.momentum else set()
    return {"step", "exp_avg", "exp_avg_sq"}


def state_of(optimiser: Optimizer, named: Sequence[Named]) -> dict[str, Tensor]:
    """The optimiser's memory of these parameters as `NAME|KEY`; plain tensors, so that no pickle is needed."""
    return {
        f"{name}|{key}": value
        for name, parameter in named
        for key, value in optimiser.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_state(optimiser: Optimizer, named: Sequence[Named], stored: Mapping[str, Tensor]) -> None:
    """The inverse of `state_of`; parameters that `stored` does not name start without a memory."""
    known = dict(named)
    for label, value in stored.items():
        name, _, key = label.rpartition("|")
        if name in known:
            parameter = known[name]
            # A count of steps stays on the CPU in float32, where torch keeps it.
            place = parameter.device if value.ndim else torch.device("cpu")
            optimiser.state[parameter][key] = value.to(place).clone()

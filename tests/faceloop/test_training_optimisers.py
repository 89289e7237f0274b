"""LAMB against its paper's formulas, what is decayed, and clipping that counts every rank once."""

import numpy as np
import pytest
import torch
from torch import nn

from faceloop.training.optimisers import build_optimiser, clip_gradients, memory_of, restore_state, set_rate, state_of
from faceloop.training.ranks import World

from .training_world import params_of

KINDS = ("sgd", "adamw", "lamb")


def _parameters(seed: int) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((4, 3), (4,), (5, 1, 3))
    wide, narrow, rows = (nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes)
    return wide, narrow, rows


def _descend(
    kind: str, steps: range, *, start: list[torch.Tensor], stored: dict[str, torch.Tensor] | None = None
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    wide, narrow, rows = _parameters(0)
    backbone, centres = [("wide", wide), ("narrow", narrow)], [("centres", rows)]
    for parameter, value in zip((wide, narrow, rows), start, strict=True):
        parameter.data.copy_(value)
    params = params_of(f"train.optimiser.kind={kind}").optimiser
    optimiser = build_optimiser(backbone, centres, params)
    restore_state(optimiser, backbone + centres, stored or {})
    for step in steps:
        for parameter in (wide, narrow, rows):
            parameter.grad = torch.sin(parameter.detach() * (step + 2))
        set_rate(optimiser, 1.0 / (step + 1))
        optimiser.step()
    state = state_of(optimiser, backbone + centres)
    assert {label.rpartition("|")[2] for label in state} == memory_of(params)
    return [parameter.detach().clone() for parameter in (wide, narrow, rows)], state


@pytest.mark.parametrize("kind", KINDS)
def test_an_optimiser_whose_memory_was_stored_goes_on_to_the_bit(kind: str) -> None:
    start = [parameter.detach().clone() for parameter in _parameters(1)]
    whole, _ = _descend(kind, range(6), start=start)
    half, stored = _descend(kind, range(3), start=start)
    rest, _ = _descend(kind, range(3, 6), stored={name: value.clone() for name, value in stored.items()}, start=half)
    assert all(torch.equal(one, other) for one, other in zip(whole, rest, strict=True))


def test_lamb_moves_as_its_paper_says_and_every_centre_is_a_layer_of_its_own() -> None:
    start = [parameter.detach().clone() for parameter in _parameters(1)]
    found, _ = _descend("lamb", range(1), start=start)
    params = params_of("train.optimiser.kind=lamb").optimiser
    for place, (weight, after) in enumerate(zip(start, found, strict=True)):
        value = weight.double().numpy()
        gradient = np.sin(value * 2)
        update = gradient / (np.abs(gradient) + 1e-6) + (params.weight_decay * value if place != 1 else 0)
        layers = range(len(value)) if place == 2 else [slice(None)]
        rate = params.learning_rate * (params.centres_rate if place == 2 else 1)
        for layer in layers:
            trust = np.linalg.norm(value[layer]) / np.linalg.norm(update[layer])
            expected = value[layer] - rate * trust * update[layer]
            np.testing.assert_allclose(after.numpy()[layer], expected, rtol=1e-4, atol=1e-5)


def test_biases_and_norms_are_not_decayed() -> None:
    wide, narrow, rows = _parameters(0)
    params = params_of("train.optimiser.weight_decay=0.5", "train.optimiser.momentum=0").optimiser
    optimiser = build_optimiser([("wide", wide), ("narrow", narrow)], [("centres", rows)], params)
    before = narrow.detach().clone()
    for parameter in (wide, narrow, rows):
        parameter.grad = torch.zeros_like(parameter)
    lengths = wide.norm().item(), rows.norm().item()
    optimiser.step()
    assert torch.equal(narrow, before)
    assert wide.norm().item() < lengths[0] and rows.norm().item() < lengths[1]


def test_gradients_are_clipped_to_a_length_of_all_together() -> None:
    wide, narrow, rows = _parameters(3)
    for parameter in (wide, narrow, rows):
        parameter.grad = parameter.detach().clone()
    whole = torch.cat([parameter.detach().flatten() for parameter in (wide, narrow, rows)])
    found = clip_gradients([wide, narrow], [rows], largest=0.5, world=World())
    assert found == pytest.approx(float(whole.norm()), rel=1e-5)
    clipped = torch.cat([p.grad.flatten() for p in (wide, narrow, rows) if p.grad is not None])
    torch.testing.assert_close(clipped, whole * 0.5 / whole.norm())

"""Margins as functions of cosines: they only ever make a face's own class look farther away."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from faceloop.training.margins import Margin, margined, nearest_subcentre, with_margin
from facestore.errors import ConfigError

MARGINS = st.one_of(
    st.builds(Margin.arcface, st.floats(0, 1.5)),
    st.builds(Margin.cosface, st.floats(0, 1)),
    st.builds(Margin.combined, st.floats(1, 4), st.floats(0, 1.5), st.floats(0, 1)),
)
COSINES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20)


def _grid(count: int = 4001) -> Tensor:
    return torch.linspace(-1, 1, count, dtype=torch.float64)


def _close(found: Tensor, expected: Tensor) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)


@given(margin=MARGINS, values=COSINES)
def test_a_margin_never_raises_the_cosine_to_the_own_class(margin: Margin, values: list[float]) -> None:
    cosines = torch.tensor(values)
    assert (margined(cosines, margin) <= cosines).all()


@settings(max_examples=60, deadline=None)
@given(margin=MARGINS)
def test_a_nearer_face_never_has_the_lower_value_and_no_jump_parts_two_neighbours(margin: Margin) -> None:
    grid = _grid()
    values = margined(grid, margin)
    steps = values.diff()
    assert (steps >= -1e-9).all()
    inner = grid.abs() < 0.999  # at ±1 the angle itself has an infinite slope
    assert steps[inner[1:] & inner[:-1]].max() < 0.05


@given(margin=MARGINS, values=COSINES)
def test_gradients_are_finite_everywhere_the_ends_included(margin: Margin, values: list[float]) -> None:
    cosines = torch.tensor([*values, -1.0, 1.0, np.nextafter(np.float32(1), np.float32(0))], requires_grad=True)
    (gradient,) = torch.autograd.grad(margined(cosines, margin).sum(), [cosines])
    assert torch.isfinite(gradient).all()
    assert (gradient >= -1e-6).all()


@given(values=COSINES)
def test_a_margin_of_nothing_is_the_plain_softmax(values: list[float]) -> None:
    cosines = torch.tensor(values)
    for margin in (Margin(), Margin.arcface(0.0), Margin.cosface(0.0), Margin.combined(1, 0, 0)):
        assert torch.equal(margined(cosines, margin), cosines)


def test_arcface_and_cosface_are_what_their_papers_write() -> None:
    grid = _grid()[1:-1]
    angles = torch.arccos(grid)
    is_plain = angles <= math.pi - 0.5
    _close(margined(grid, Margin.arcface(0.5))[is_plain], torch.cos(angles + 0.5)[is_plain])
    assert torch.equal(margined(grid, Margin.cosface(0.35)), grid - 0.35)
    mixed = margined(grid, Margin.combined(1.0, 0.3, 0.2))
    is_plain = angles <= math.pi - 0.3
    _close(mixed[is_plain], torch.cos(angles + 0.3)[is_plain] - 0.2)


def test_sphereface_goes_on_falling_past_a_half_turn() -> None:
    grid = _grid()[1:-1]
    angles = 4 * torch.arccos(grid)
    turns = torch.floor(angles / math.pi)
    expected = (1 - 2 * (turns % 2)) * torch.cos(angles) - 2 * turns
    _close(margined(grid, Margin.combined(4.0, 0.0, 0.0)), expected)


@settings(deadline=None)
@given(margin=MARGINS, seed=st.integers(0, 1000))
def test_only_the_own_column_changes_and_a_row_without_one_stays(margin: Margin, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    cosines = torch.rand((6, 5), generator=rng) * 2 - 1
    indices = torch.randint(-1, 5, (6,), generator=rng)
    before = cosines.clone()
    values = with_margin(cosines, indices, margin)
    assert torch.equal(cosines, before)
    for row, own in enumerate(indices.tolist()):
        others = [column for column in range(5) if column != own]
        assert torch.equal(values[row, others], cosines[row, others])
        if own >= 0:
            assert values[row, own] == margined(cosines[row, own], margin)


def test_the_filter_drops_negatives_above_it_and_never_the_own_class() -> None:
    cosines = torch.tensor([[0.9, 0.6, 0.1], [0.2, 0.7, 0.95]])
    values = with_margin(cosines, torch.tensor([0, -1]), Margin.cosface(0.25, drop_negatives_above=0.65))
    expected = torch.tensor([[0.65, 0.6, 0.1], [0.2, -math.inf, -math.inf]])
    _close(values, expected)


def test_the_nearest_sub_centre_speaks_for_its_class_and_alone_gets_the_gradient() -> None:
    cosines = torch.tensor([[[0.1, 0.8], [0.5, -0.5]]], requires_grad=True)
    nearest = nearest_subcentre(cosines)
    _close(nearest, torch.tensor([[0.8, 0.5]]))
    (gradient,) = torch.autograd.grad(nearest.sum(), [cosines])
    assert gradient.tolist() == [[[0, 1], [1, 0]]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"multiplier": 0.9}, "multiplier is 0.9"),
        ({"angular_rad": -0.1}, "angular_rad is -0.1"),
        ({"additive": math.nan}, "additive is nan"),
        ({"drop_negatives_above": -1.0}, "drop_negatives_above is -1.0"),
    ],
)
def test_a_margin_that_would_help_the_own_class_is_refused(values: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Margin(**values)

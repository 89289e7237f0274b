"""Metric and distillation losses against slow plain loops in numpy."""

import math
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from faceloop.training.distilling import cosine_distillation, relational_distillation
from faceloop.training.metric_losses import CentreLoss, TripletMining, triplet_loss
from facestore.errors import DataError

MININGS: tuple[TripletMining, ...] = ("batch_hard", "semi_hard", "distance_weighted")
MARGIN = 0.3


def _batch(seed: int, *, people: int = 4, each: int = 3, dimension: int = 6) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), each)
    vectors = rng.normal(size=(people, dimension))[person] + 0.7 * rng.normal(size=(len(person), dimension))
    order = rng.permutation(len(person))
    return torch.from_numpy(vectors[order] * rng.uniform(0.5, 5)), torch.from_numpy(person[order])


def _distances(features: Tensor) -> NDArray[np.float64]:
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    apart: NDArray[np.float64] = np.linalg.norm(unit[:, None] - unit[None, :], axis=2)
    return apart


def _pairs(person: NDArray[np.int64]) -> Iterator[tuple[int, int, list[int]]]:
    for anchor, positive in permutations(range(len(person)), 2):
        if person[anchor] == person[positive]:
            yield anchor, positive, [i for i in range(len(person)) if person[i] != person[anchor]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_batch_hard_is_the_farthest_positive_against_the_nearest_negative(seed: int) -> None:
    features, indices = _batch(seed)
    apart, person = _distances(features), indices.numpy()
    losses = []
    for anchor in range(len(person)):
        positives = [i for i in range(len(person)) if i != anchor and person[i] == person[anchor]]
        negatives = [i for i in range(len(person)) if person[i] != person[anchor]]
        losses.append(max(0.0, MARGIN + apart[anchor, positives].max() - apart[anchor, negatives].min()))
    found = triplet_loss(features, indices, mining="batch_hard", margin=MARGIN)
    assert found.item() == pytest.approx(np.mean(losses), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_semi_hard_is_the_nearest_negative_behind_the_positive_or_else_the_farthest(seed: int) -> None:
    features, indices = _batch(seed)
    apart = _distances(features)
    losses = []
    for anchor, positive, negatives in _pairs(indices.numpy()):
        behind = [apart[anchor, i] for i in negatives if apart[anchor, i] > apart[anchor, positive]]
        chosen = min(behind) if behind else apart[anchor, negatives].max()
        losses.append(max(0.0, MARGIN + apart[anchor, positive] - chosen))
    found = triplet_loss(features, indices, mining="semi_hard", margin=MARGIN)
    assert found.item() == pytest.approx(np.mean(losses), abs=1e-9)


def test_negatives_drawn_by_distance_come_as_often_as_the_inverse_density_says() -> None:
    # One anchor pair, three negatives at set distances; the loss tells which was drawn.
    dimension, wanted = 8, (0.6, 1.0, 1.3)
    cosines = [1 - d * d / 2 for d in wanted]
    rows = np.zeros((5, dimension))
    rows[:2, 0] = 1
    for place, cosine in enumerate(cosines):
        rows[2 + place, 0], rows[2 + place, 1 + place] = cosine, math.sqrt(1 - cosine**2)
    features, indices = torch.from_numpy(rows), torch.tensor([0, 0, 1, 2, 3])
    density = np.array([d ** (dimension - 2) * (1 - d * d / 4) ** ((dimension - 3) / 2) for d in wanted])
    weight = (1 / density) / (1 / density).sum()
    expected = float((weight * (2 - np.array(wanted))).sum())
    drawn = [triplet_loss(features, indices, mining="distance_weighted", margin=2, seed=s).item() for s in range(2000)]
    assert np.mean(drawn) == pytest.approx(expected, abs=0.02)
    assert triplet_loss(features, indices, mining="distance_weighted", margin=2, seed=0).item() == drawn[0]
    assert len({round(value, 6) for value in drawn}) > 2


@pytest.mark.parametrize("mining", MININGS)
def test_without_a_pair_or_a_negative_there_is_no_loss_and_a_gradient_of_zero(mining: TripletMining) -> None:
    for indices in (torch.arange(4), torch.zeros(4, dtype=torch.int64)):
        features = torch.randn((4, 5), generator=torch.Generator().manual_seed(0), requires_grad=True)
        loss = triplet_loss(features, indices, mining=mining, margin=MARGIN)
        (gradient,) = torch.autograd.grad(loss, [features])
        assert loss.item() == 0
        assert (gradient == 0).all()


@pytest.mark.parametrize("mining", MININGS)
def test_equal_embeddings_have_finite_gradients(mining: TripletMining) -> None:
    features = torch.ones((4, 5), requires_grad=True)
    loss = triplet_loss(features, torch.tensor([0, 0, 1, 1]), mining=mining, margin=MARGIN)
    (gradient,) = torch.autograd.grad(loss, [features])
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("mining", MININGS)
def test_people_far_apart_cost_nothing_and_mixed_up_ones_do(mining: TripletMining) -> None:
    features = torch.eye(3).repeat_interleave(2, dim=0)
    assert triplet_loss(features, torch.tensor([0, 0, 1, 1, 2, 2]), mining=mining, margin=MARGIN).item() == 0
    assert triplet_loss(features, torch.tensor([0, 1, 0, 1, 2, 2]), mining=mining, margin=MARGIN).item() > MARGIN / 2


def test_the_centre_loss_is_one_minus_the_mean_cosine_to_the_own_centre() -> None:
    features, indices = _batch(3)
    loss = CentreLoss(6, 4, seed=1).double()
    centres = loss.centres.detach().numpy()[indices.numpy()]
    cosines = (features.numpy() * centres).sum(axis=1)
    cosines /= np.linalg.norm(features.numpy(), axis=1) * np.linalg.norm(centres, axis=1)
    assert loss(features, indices).item() == pytest.approx(1 - cosines.mean())


def test_cosine_distillation_is_nothing_for_the_teachers_direction_and_two_for_its_opposite() -> None:
    teacher = torch.randn((5, 8), generator=torch.Generator().manual_seed(0), requires_grad=True)
    student = (3 * teacher).detach().requires_grad_()
    assert cosine_distillation(student, teacher).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distillation(-student, teacher).item() == pytest.approx(2, abs=1e-6)
    with pytest.raises(RuntimeError, match="not have been used"):  # nothing flows back to the teacher
        torch.autograd.grad(cosine_distillation(student, teacher), [teacher])
    with pytest.raises(DataError, match="relations"):
        cosine_distillation(student[:, 1:], teacher)


def _huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) < 1 else abs(difference) - 0.5


def _relations(features: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    unit = features.numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
    apart, faces = _distances(features), len(unit)
    angles = np.zeros((faces, faces, faces))
    for at, one, other in np.ndindex(faces, faces, faces):
        left, right = unit[one] - unit[at], unit[other] - unit[at]
        if at not in (one, other):
            angles[at, one, other] = left @ right / (np.linalg.norm(left) * np.linalg.norm(right))
    return apart / (apart.sum() / (faces * (faces - 1))), angles


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_relational_distillation_compares_distances_and_angles_across_dimensions(seed: int) -> None:
    student, teacher = _batch(seed, people=2, dimension=4)[0], _batch(seed + 1, people=2, dimension=9)[0]
    (apart, angles), (apart_teacher, angles_teacher) = _relations(student), _relations(teacher)
    expected = np.mean([_huber(d) for d in (apart - apart_teacher).ravel()])
    expected += 2 * np.mean([_huber(d) for d in (angles - angles_teacher).ravel()])
    assert relational_distillation(student, teacher).item() == pytest.approx(expected, abs=1e-6)


def test_a_turned_copy_of_the_teachers_space_costs_no_relation() -> None:
    teacher = _batch(5)[0]
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).normal(size=(6, 6)))).Q
    student = (teacher @ turn).requires_grad_()
    loss = relational_distillation(student, teacher)
    (gradient,) = torch.autograd.grad(loss, [student])
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert torch.isfinite(gradient).all()
    assert relational_distillation(student[:1], teacher[:1]).item() == 0
    with pytest.raises(DataError, match="one row a crop"):
        relational_distillation(student, teacher[1:])

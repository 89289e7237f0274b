"""Classes split over two real ranks compute what the full softmax computes on one: loss and gradients to 1e-5."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from faceloop.training.margins import Margin, margined
from faceloop.training.sharded_classifier import ShardedClassifier, rows_of_rank
from facestore.errors import ConfigError, DataError

from .sharded_ranks import CASES, DIMENSION, RANKS, Case, as_array, backbone, work

TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    """What each of two processes computed, all cases; they are started once."""
    folder = tmp_path_factory.mktemp("ranks")
    program = str(Path(__file__).with_name("sharded_ranks.py"))
    running = [
        subprocess.Popen(
            [
                sys.executable,
                program,
                str(rank),
                str(RANKS),
                str(folder / "store"),
                str(folder / f"{rank}.safetensors"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        said = [process.communicate()[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * RANKS, said
    return [load_file(folder / f"{rank}.safetensors") for rank in range(RANKS)]


def _plain(case: Case, rows: Tensor) -> dict[str, Tensor]:
    """The loss and gradients by PyTorch's own cross-entropy in float64, over the classes `rows` alone."""
    inputs, indices, weights = case.batch()
    layer = backbone().double()
    centres = case.table().double().requires_grad_()
    features = layer(inputs.double())
    cosines = functional.normalize(features) @ functional.normalize(centres, dim=2).flatten(0, 1).T
    cosines = cosines.reshape(len(inputs), case.classes, case.sub_centres).amax(dim=2)[:, rows]
    is_own = indices[:, None] == rows[None, :]
    logits = torch.where(is_own, margined(cosines, case.margin), cosines) * case.scale
    if case.margin.drop_negatives_above is not None:
        logits = logits.masked_fill(~is_own & (cosines > case.margin.drop_negatives_above), -torch.inf)
    losses = functional.cross_entropy(logits, is_own.double().argmax(dim=1), reduction="none")
    loss = (losses * weights.double()).sum() / weights.double().sum()
    gradients = torch.autograd.grad(loss, [features, centres, layer.weight])
    return dict(zip(("loss", "features", "centres", "backbone"), (loss, *gradients), strict=True))


def _agrees(found: Tensor, expected: Tensor) -> None:
    """To 1e-5 of the largest value: single entries of a gradient may be as small as rounding."""
    scale = max(1.0, float(np.abs(as_array(expected)).max(initial=0.0)))
    np.testing.assert_allclose(as_array(found), as_array(expected), rtol=0, atol=TOLERANCE * scale)


@pytest.mark.integration
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_compute_the_loss_and_gradients_of_one(name: str, ranks: list[dict[str, Tensor]]) -> None:
    case = CASES[name]
    centres = torch.cat([rank[f"{name}.centres"] for rank in ranks])
    # Only what was drawn has a gradient: without sampling, that must be every class of an unfiltered softmax.
    drawn = torch.nonzero(centres.flatten(1).abs().sum(dim=1)).squeeze(1) if case.sample_rate < 1 else None
    plain = _plain(case, torch.arange(case.classes) if drawn is None else drawn)
    for rank in ranks:
        _agrees(rank[f"{name}.losses"][-1], plain["loss"])
        _agrees(rank[f"{name}.backbone"], plain["backbone"])
    _agrees(torch.cat([rank[f"{name}.features"] for rank in ranks]), plain["features"])
    _agrees(centres, plain["centres"])
    if case.sample_rate == 1:
        alone = work(case, 0, 1)
        _agrees(ranks[0][f"{name}.losses"], alone["losses"])
        _agrees(torch.cat([rank[f"{name}.features"] for rank in ranks]), alone["features"])
        _agrees(centres, alone["centres"])
        _agrees(ranks[1][f"{name}.backbone"], alone["backbone"])


@pytest.mark.integration
def test_every_rank_can_gather_the_table_that_was_loaded_in_parts(ranks: list[dict[str, Tensor]]) -> None:
    for name, case in CASES.items():
        for rank in ranks:
            assert torch.equal(rank[f"{name}.gathered"], case.table())


@pytest.mark.integration
def test_a_sampled_step_holds_the_classes_of_the_batch_and_no_more_than_its_share(
    ranks: list[dict[str, Tensor]],
) -> None:
    case = CASES["sampled"]
    for place, rank in enumerate(ranks):
        rows = rows_of_rank(case.classes, rank=place, world_size=RANKS)
        drawn = set(
            (torch.nonzero(rank["sampled.centres"].flatten(1).abs().sum(dim=1)).squeeze(1) + rows.start).tolist()
        )
        own = {index for index in case.batch()[1].tolist() if index in rows}
        assert own <= drawn
        assert len(drawn) == max(round(case.sample_rate * len(rows)), len(own))
        assert int(rank["sampled.draws"]) == 2


def _classifier(**changes: object) -> ShardedClassifier:
    settings = {"margin": Margin.arcface(), "seed": 5} | changes
    return ShardedClassifier(DIMENSION, 9, **settings)  # type: ignore[arg-type]


def _losses(classifier: ShardedClassifier, steps: int) -> list[float]:
    inputs, indices, _ = CASES["arcface"].batch()
    features = backbone()(inputs).detach()
    return [classifier(features, indices % 3).item() for _ in range(steps)]


def test_a_resume_draws_the_classes_that_the_broken_run_would_have_drawn() -> None:
    whole = _losses(_classifier(sample_rate=0.4), 6)
    assert len(set(whole)) > 1
    broken, resumed = _classifier(sample_rate=0.4), _classifier(sample_rate=0.4)
    first = _losses(broken, 2)
    resumed.load_state_dict(broken.state_dict())
    assert first + _losses(resumed, 4) == whole


@given(classes=st.integers(1, 50), world_size=st.integers(1, 9))
def test_the_ranks_rows_follow_one_another_and_differ_by_one_at_most(classes: int, world_size: int) -> None:
    rows = [rows_of_rank(classes, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [row for part in rows for row in part] == list(range(classes))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


@pytest.mark.parametrize("world_size", [2, 3])
def test_first_centres_do_not_depend_on_the_number_of_ranks(world_size: int) -> None:
    classes = 9000  # more than two of the blocks they are drawn in
    whole = ShardedClassifier(2, classes, margin=Margin(), seed=1).centres
    parts = [
        ShardedClassifier(2, classes, rank=rank, world_size=world_size, margin=Margin(), seed=1).centres.data
        for rank in range(world_size)
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole, ShardedClassifier(2, classes, margin=Margin(), seed=2).centres)
    assert len(torch.unique(whole[:, 0, 0])) > 8000


def test_centres_without_sub_centres_become_the_first_of_several_and_the_others_start_around_them() -> None:
    table = torch.randn((9, DIMENSION), generator=torch.Generator().manual_seed(0))
    classifier = _classifier(sub_centres=3)
    classifier.load_centres(table)
    assert torch.equal(classifier.centres[:, 0], table)
    unit = functional.normalize(classifier.centres, dim=2)
    cosines = (unit[:, :1] * unit[:, 1:]).sum(dim=2)
    assert ((cosines > 0.98) & (cosines < 1 - 1e-6)).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), length=st.floats(0.01, 100))
def test_the_loss_looks_at_directions_only_and_at_no_order_of_faces(seed: int, length: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    features, indices = torch.randn((7, DIMENSION), generator=rng), torch.randint(0, 9, (7,), generator=rng)
    classifier = _classifier()
    loss = classifier(features, indices).item()
    order = torch.randperm(7, generator=rng)
    assert classifier(features[order] * length, indices[order]).item() == pytest.approx(loss, rel=1e-5)


def test_a_face_of_no_confidence_counts_as_one_that_is_not_there() -> None:
    features = torch.randn((5, DIMENSION), generator=torch.Generator().manual_seed(2), requires_grad=True)
    indices, weights = torch.tensor([0, 1, 2, 3, 4]), torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    classifier = _classifier()
    kept = weights > 0
    loss = classifier(features, indices, weights)
    assert loss.item() == pytest.approx(classifier(features[kept], indices[kept]).item(), rel=1e-6)
    loss.backward()
    assert features.grad is not None
    assert (features.grad[~kept] == 0).all()
    nothing = classifier(features, indices, torch.zeros(5))
    nothing.backward()
    assert nothing.item() == 0
    assert torch.isfinite(features.grad).all()


def test_a_large_scale_overflows_nothing() -> None:
    features = torch.randn((4, DIMENSION), generator=torch.Generator().manual_seed(4), requires_grad=True)
    loss = _classifier(scale=1e4)(features, torch.arange(4))
    loss.backward()
    assert torch.isfinite(loss)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_a_step_down_the_gradient_lowers_the_loss() -> None:
    features = torch.randn((12, DIMENSION), generator=torch.Generator().manual_seed(6))
    indices = torch.arange(12) % 9
    classifier = _classifier(sub_centres=2)
    losses = []
    for _ in range(20):
        loss = classifier(features, indices)
        (gradient,) = torch.autograd.grad(loss, classifier.centres)
        with torch.no_grad():
            classifier.centres.sub_(0.001 * gradient)
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rank": 2, "world_size": 2}, "rank is 2 of 2"),
        ({"world_size": 12}, "9 classes on 12 ranks"),
        ({"sample_rate": 0.0}, "sample_rate in"),
        ({"scale": -1.0}, "scale above 0"),
        ({"sub_centres": 0}, "sub_centres 0"),
    ],
)
def test_settings_out_of_range_are_refused_before_work(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        _classifier(**changes)


def test_data_that_does_not_fit_is_refused() -> None:
    classifier, features = _classifier(sub_centres=2), torch.ones((2, DIMENSION))
    with pytest.raises(DataError, match="from -1 to 3"):
        classifier(features, torch.tensor([3, -1]))
    with pytest.raises(DataError, match="from 0 to 9"):
        classifier(features, torch.tensor([0, 9]))
    with pytest.raises(DataError, match="expected"):
        classifier(features[:, 1:], torch.tensor([0, 1]))
    with pytest.raises(DataError, match="9 classes"):
        classifier.load_centres(torch.zeros((8, DIMENSION)))
    with pytest.raises(DataError, match="3 sub-centres"):
        classifier.load_centres(torch.zeros((9, 3, DIMENSION)))

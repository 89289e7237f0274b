"""The loop of a training on one rank: it learns, accumulates exactly, stops at nonsense, and says why."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from faceloop.training.curve import Step, line_of, point_of
from faceloop.training.ranks import World, device_for, repeatable
from faceloop.training.schedule import rate_factor, warm_up_steps
from facestore.errors import ConfigError, StageError

from .training_world import TinyBackbone, TinyReader, are_equal, fit_tiny, params_of, tiny_learner, weights_of


def test_the_loss_falls_and_the_curve_holds_every_step(tmp_path: Path) -> None:
    learner = tiny_learner(params_of("train.schedule.epochs=8"), classes=5)
    points = fit_tiny(learner, TinyReader(classes=5), tmp_path)
    losses = [point.loss for point in points if isinstance(point, Step)]
    assert [point.step for point in points] == list(range(1, 33))
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert [point_of(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()] == points


def test_the_same_training_gives_the_same_bits(tmp_path: Path) -> None:
    found = []
    for name in ("once", "again"):
        learner = tiny_learner(params_of("train.loss.sample_rate=0.5"), classes=9)
        fit_tiny(learner, TinyReader(classes=9), tmp_path / name)
        found.append(weights_of(learner))
    assert are_equal(*found)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lamb"])
def test_a_batch_in_four_parts_moves_the_weights_as_one_batch_does(tmp_path: Path, kind: str) -> None:
    """Without batch norm and dropout, which see the part; confidences differ, so that parts weigh differently."""
    found = []
    for parts in (1, 4):
        params = params_of(f"train.accumulate={parts}", f"train.optimiser.kind={kind}")
        learner = tiny_learner(params, classes=5, backbone=TinyBackbone(is_normalised=False).double().float())
        fit_tiny(learner, TinyReader(classes=5), tmp_path / str(parts))
        found.append(weights_of(learner))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_loss_that_is_not_finite_names_its_step_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    learner = tiny_learner(params_of("train.checkpoint_every=2"), classes=5)

    def spoil(step: int) -> None:
        if step == 5:
            with torch.no_grad():
                learner.backbone.get_parameter("head.weight").fill_(float("nan"))

    with pytest.raises(StageError, match=r"loss of step 6 is nan.*learning_rate"):
        fit_tiny(learner, TinyReader(classes=5, before_step=spoil), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000002", "step-00000004"]


def test_warm_up_rises_and_the_cosine_falls_to_its_floor() -> None:
    warm = warm_up_steps(100, 0.1)
    factors = [rate_factor(step, steps=100, warm_up_steps=warm, final=0.01) for step in range(101)]
    assert 0 < factors[0] < factors[5] < factors[10] == 1.0
    assert all(now >= then for now, then in pairwise(factors[10:]))
    assert factors[100] == pytest.approx(0.01)


def test_half_precision_on_a_cpu_is_refused_and_settings_of_torch_come_back() -> None:
    before = torch.get_num_threads()
    with (
        pytest.raises(ConfigError, match="bf16"),
        repeatable(params_of("train.amp=fp16"), threads=1, device=World().device),
    ):
        pass
    with repeatable(params_of(), threads=1, device=World().device):
        assert torch.are_deterministic_algorithms_enabled()
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (before, False)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="sees 0 GPUs"):
            device_for("cuda", local_rank=0)


def test_a_point_of_the_curve_comes_back_to_the_bit() -> None:
    point = Step(step=3, epoch=0, loss=0.1 + 0.2, gradient_norm=None, rate=1e-17)
    assert point_of(line_of(point)) == point

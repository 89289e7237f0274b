"""Between the start and the trained model: either end to the bit, batch norms measured anew."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from faceloop.training.backbones.freezing import freeze_batch_norms
from faceloop.training.blending import blend, recalibrate, weights_of
from faceloop.training.preparing import Preparation
from faceloop.vision.specs import Preprocessing

PLAIN = Preparation(preprocessing=Preprocessing(colour="RGB", mean=0.0, std=1.0))


def _net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(5))


def _trained(seed: int) -> nn.Module:
    net = _net(seed)
    net(torch.rand(4, 3, 6, 6))  # sizes the last layer, moves the running means
    return net


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_either_end_gives_its_embeddings_to_the_bit(share: float) -> None:
    start, trained = _trained(1), _trained(2)
    wanted = (start if share == 0.0 else trained).eval()
    pictures = torch.rand(3, 3, 6, 6)
    with torch.no_grad():
        expected = wanted(pictures).clone()
        blend(trained, weights_of(start), share)
        assert torch.equal(trained.eval()(pictures), expected)


@given(share=st.floats(0, 1), seed=st.integers(0, 5))
@settings(deadline=None, max_examples=20)
def test_every_weight_lies_between_its_ends(share: float, seed: int) -> None:
    start, trained = weights_of(_trained(seed)), _trained(seed + 10)
    before = weights_of(trained)
    blend(trained, start, share)
    for name, value in trained.state_dict().items():
        low, high = torch.minimum(start[name], before[name]), torch.maximum(start[name], before[name])
        assert bool(((value >= low - 1e-6) & (value <= high + 1e-6)).all()) or not value.is_floating_point()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pictures:
    images: Tensor
    labels: Tensor
    confidences: Tensor


def _batches() -> Iterator[_Pictures]:
    generator = torch.Generator().manual_seed(4)
    for _ in range(3):
        images = torch.randint(0, 256, (8, 3, 6, 6), generator=generator, dtype=torch.uint8)
        yield _Pictures(images=images, labels=torch.zeros(8, dtype=torch.int64), confidences=torch.ones(8))


def test_running_means_are_measured_anew_on_the_blended_weights() -> None:
    net = _trained(3)
    recalibrate(net, _batches(), PLAIN, torch.device("cpu"))
    convolution, norm = list(net.children())[:2]
    with torch.no_grad():
        mean = torch.stack([convolution(b.images.float()).mean(dim=(0, 2, 3)) for b in _batches()]).mean(dim=0)
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, mean)
    assert norm.momentum == 0.1


def test_frozen_batch_norms_keep_what_start_and_training_share() -> None:
    net = freeze_batch_norms(_trained(3))
    before = weights_of(net)
    recalibrate(net, _batches(), PLAIN, torch.device("cpu"))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

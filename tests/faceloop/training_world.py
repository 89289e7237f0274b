"""Small trainings whose answer is known: a backbone of two layers, crops of one colour an identity, real loops."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.training.curve import Point
from faceloop.training.fitting import fit
from faceloop.training.learner import Learner
from faceloop.training.margins import Margin
from faceloop.training.preparing import Preparation
from faceloop.training.ranks import World, repeatable
from faceloop.training.sharded_classifier import ShardedClassifier
from faceloop.training.train_params import TrainParams
from faceloop.training.validation import ValSplit
from faceloop.vision.specs import Preprocessing

ROOT = Path(__file__).parents[2]
DIMENSION = 16
QUICK = (
    "train.batch_size=12", "train.schedule.epochs=3", "train.workers=0", "train.device=cpu",
    "train.optimiser.learning_rate=0.05", "train.loss.scale=16", "train.freeze_batchnorm=false",
)  # fmt: skip


def params_of(*overrides: str) -> TrainParams:
    return section(read_params(ROOT / "params.yaml", [*QUICK, *overrides]), "train", TrainParams)


class TinyBackbone(nn.Module):
    """(B, 3, 112, 112) to (B, 16): 16 × 16 blocks, batch norm, dropout, a linear layer."""

    def __init__(self, *, seed: int = 0, is_normalised: bool = True) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.pool = nn.AvgPool2d(16)
            self.norm = nn.BatchNorm1d(147) if is_normalised else nn.Identity()
            self.drop = nn.Dropout(0.2 if is_normalised else 0.0)
            self.head = nn.Linear(147, DIMENSION)

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.head(self.drop(self.norm(self.pool(pixels).flatten(1))))
        return features


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyBatch:
    images: Tensor
    labels: Tensor
    confidences: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyReader:
    """Each identity has a colour of its own, with noise that depends on (epoch, step, place in the global batch)."""

    classes: int
    identities: tuple[int, ...] = ()  # whose colours the classes have; as many as classes, or 0, 1, …
    batch_size: int = 12
    steps_per_epoch: int = 4
    world: World = field(default_factory=World)
    before_step: Callable[[int], None] = lambda step: None

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[TinyBatch]:
        every = torch.rand((2000, 3, 7, 7), generator=torch.Generator().manual_seed(5))
        colours = every[list(self.identities or range(self.classes))]
        for step in range(first_step, self.steps_per_epoch):
            self.before_step(epoch * self.steps_per_epoch + step)
            generator = torch.Generator().manual_seed(1000 * epoch + step)
            labels = torch.randint(0, self.classes, (self.batch_size,), generator=generator)
            noise = 0.1 * torch.rand((self.batch_size, 3, 7, 7), generator=generator)
            confidences = 0.5 + 0.5 * torch.rand(self.batch_size, generator=generator)
            blocks = ((colours[labels] * 0.9 + noise) * 255).to(torch.uint8)
            images = blocks.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
            mine = slice(self.world.rank, None, self.world.ranks)
            yield TinyBatch(images=images[mine], labels=labels[mine], confidences=confidences[mine])


def tiny_learner(
    params: TrainParams, *, classes: int, world: World | None = None, backbone: nn.Module | None = None
) -> Learner:
    world = world or World()
    classifier = ShardedClassifier(
        DIMENSION, classes, rank=world.rank, world_size=world.ranks, margin=Margin.cosface(0.1),
        scale=params.loss.scale, sub_centres=params.loss.sub_centres, sample_rate=params.loss.sample_rate, seed=3,
    )  # fmt: skip
    return Learner(
        backbone=backbone or TinyBackbone(),
        classifier=classifier,
        preparation=Preparation(preprocessing=Preprocessing(colour="RGB", mean=127.5, std=128.0)),
        params=params,
        world=world,
    )


def fit_tiny(learner: Learner, reader: TinyReader, folder: Path) -> list[Point]:
    folder.mkdir(parents=True, exist_ok=True)
    with repeatable(learner.params, threads=1, device=learner.world.device):
        return fit(learner, reader, ValSplit(folder / "no val"), folder, SilentProgress())


def weights_of(learner: Learner) -> dict[str, Tensor]:
    """Everything a training leaves behind, for a comparison bit by bit."""
    return learner.shared_state() | learner.rows_state()


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

"""`sharded_ranks.py RANK RANKS STORE OUT`: one rank of a real gloo group works through all cases, saves what it got.

Imported, it gives the same cases to the test, which works them out on one rank and by a plain softmax.
"""

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceloop.training.margins import Margin
from faceloop.training.sharded_classifier import ShardedClassifier

RANKS = 2
DIMENSION = 16
INPUTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`batches`: faces on each rank; `weights`: None, or as "some": drawn, zeros among them."""

    margin: Margin
    classes: int = 23
    batches: tuple[int, int] = (6, 6)
    sub_centres: int = 1
    scale: float = 64.0
    has_weights: bool = False
    sample_rate: float = 1.0

    def classifier(self, rank: int, ranks: int) -> ShardedClassifier:
        """With centres of any length, the same table on any number of ranks."""
        classifier = ShardedClassifier(
            DIMENSION,
            self.classes,
            rank=rank,
            world_size=ranks,
            margin=self.margin,
            scale=self.scale,
            sub_centres=self.sub_centres,
            sample_rate=self.sample_rate,
            seed=3,
        )
        classifier.load_centres(self.table())
        return classifier

    def table(self) -> Tensor:
        shape = (self.classes, self.sub_centres, DIMENSION)
        return torch.from_numpy(_rng(self, 0).normal(size=shape).astype(np.float32))

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, INPUTS), class indices, weights of the whole batch: rank 0's faces, then rank 1's."""
        rng, faces = _rng(self, 1), sum(self.batches)
        inputs = rng.normal(size=(faces, INPUTS)).astype(np.float32)
        indices = rng.integers(0, self.classes, faces)
        indices[: min(faces, 2)] = (0, self.classes - 1)[: min(faces, 2)]
        weights = rng.choice([0.0, 0.3, 0.9, 1.0], faces) if self.has_weights else np.ones(faces)
        return torch.from_numpy(inputs), torch.from_numpy(indices), torch.from_numpy(weights.astype(np.float32))

    def share(self, rank: int) -> slice:
        first = sum(self.batches[:rank])
        return slice(first, first + self.batches[rank])


CASES = {
    "arcface": Case(margin=Margin.arcface(0.5)),
    "cosface": Case(margin=Margin.cosface(0.35)),
    "plain_softmax": Case(margin=Margin()),
    "combined": Case(margin=Margin.combined(1.0, 0.3, 0.2)),
    "combined_with_multiplier": Case(margin=Margin.combined(1.35, 0.1, 0.05), has_weights=True),
    "sub_centres": Case(margin=Margin.arcface(0.5), sub_centres=3, classes=24),
    "odd_batches": Case(margin=Margin.cosface(0.35), batches=(4, 3), classes=25),
    "one_rank_has_no_faces": Case(margin=Margin.arcface(0.5), batches=(5, 0)),
    "weights": Case(margin=Margin.arcface(0.5), batches=(5, 8), has_weights=True),
    "filtered": Case(margin=Margin.arcface(0.5, drop_negatives_above=0.2), scale=30.0),
    "one_class_a_rank": Case(margin=Margin.cosface(0.35), classes=2),
    "sampled": Case(margin=Margin.arcface(0.5), classes=41, sample_rate=0.3),
}


def _rng(case: Case, part: int) -> np.random.Generator:
    return np.random.default_rng([part, *map(ord, repr(case))])


def backbone() -> nn.Linear:
    """The smallest backbone, the same everywhere."""
    layer = nn.Linear(INPUTS, DIMENSION)
    rng = np.random.default_rng(11)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(rng.normal(size=(DIMENSION, INPUTS))))
        layer.bias.zero_()
    return layer


def work(case: Case, rank: int, ranks: int) -> dict[str, Tensor]:
    """Two steps (the second goes through another sampling): losses, and the gradients of the second."""
    classifier, layer = case.classifier(rank, ranks), backbone()
    network: nn.Module = layer if ranks == 1 else DistributedDataParallel(layer)
    inputs, indices, weights = case.batch()
    share = case.share(rank) if ranks > 1 else slice(None)
    losses = []
    for _ in range(2):
        classifier.zero_grad()
        network.zero_grad()
        features = network(inputs[share])
        features.retain_grad()
        loss = classifier(features, indices[share], weights[share] if case.has_weights else None)
        loss.backward()
        losses.append(loss.detach())
    assert classifier.centres.grad is not None
    assert layer.weight.grad is not None
    return {
        "losses": torch.stack(losses),
        "features": features.grad / ranks,
        "centres": classifier.centres.grad,
        "backbone": layer.weight.grad,
        "gathered": classifier.gather_centres(),
        "draws": classifier.draws,
    }


def as_array(value: Tensor) -> NDArray[np.float64]:
    return value.detach().double().numpy()


def main(arguments: list[str]) -> None:
    rank, ranks = int(arguments[0]), int(arguments[1])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{arguments[2]}", rank=rank, world_size=ranks)
    saved = {
        f"{name}.{key}": value.contiguous()
        for name, case in CASES.items()
        for key, value in work(case, rank, ranks).items()
    }
    save_file(saved, Path(arguments[3]))
    gc.collect()  # no model may outlive the group (see `joined` in faceloop.training.ranks)
    dist.destroy_process_group()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

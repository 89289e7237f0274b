"""A smaller model taught to say what the whole one says: after pruning, without a label.

The student sees the crops, varied as in training, and learns the teacher's embedding of each (Hinton et al. 2015, on
embeddings). It stays in the teacher's space, so its vectors may be compared with the teacher's. Weights that are zero
in the given student stay zero: that is what fine-tuning with fixed masks means (Han et al. 2015).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceloop.training.backbones.architecture import Architecture, build_backbone
from faceloop.training.backbones.freezing import freeze_batch_norms
from faceloop.training.canonical import parity, to_onnx
from faceloop.training.distilling import cosine_distillation
from faceloop.training.preparing import Preparation
from faceloop.training.reading.augmentation_profile import AugmentationProfile
from faceloop.training.reading.augmenting import DRAWS, augmented
from faceloop.training.reading.randomness import generator_for
from faceloop.training.schedule import rate_factor, warm_up_steps
from faceloop.training.start.onnx_reading import read_onnx_graph
from faceloop.vision.specs import Preprocessing
from facestore.errors import DataError

_WARM_UP_SHARE, _FINAL_RATE = 0.05, 0.01
_LONGEST_GRADIENT = 5.0
_PROBES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryCourse:
    """`learning_rate` is Adam's, at its height; `steps` of `batch_size` crops each, drawn by `seed`."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    threads: int
    augmentation: AugmentationProfile


def recover(
    student: bytes, teacher: bytes, crops_rgb: NDArray[np.uint8], preprocessing: Preprocessing, course: RecoveryCourse
) -> bytes:
    """The student's ONNX after the course; both models are folded ONNX graphs of equal input and dimension.

    `crops_rgb` (n, 112, 112, 3). Batch norms keep their statistics. The same arguments give the same bytes on the same
    machine. Raises DataError for no crops, a loss that is not finite or unequal dimensions, ModelCorrupt for an
    operator that has no layer here.
    """
    if not len(crops_rgb):
        raise DataError("no crops to recover a pruned model on; take a release with a train split")
    with _repeatable(course.threads):
        taught, learning = _module(teacher).eval().requires_grad_(False), freeze_batch_norms(_module(student))
        preparation = Preparation(preprocessing=preprocessing)
        kept = [(weight, (weight != 0).to(weight.dtype)) for weight in learning.parameters() if weight.ndim > 1]
        optimiser = torch.optim.Adam([p for p in learning.parameters() if p.requires_grad], lr=course.learning_rate)
        warm_up = warm_up_steps(course.steps, _WARM_UP_SHARE)
        for step in range(course.steps):
            pixels = preparation.pixels(_batch(crops_rgb, course, step))
            loss = cosine_distillation(learning(pixels), taught(pixels))
            if not torch.isfinite(loss):
                raise DataError(
                    f"recovering failed at step {step}: loss {float(loss.detach())}; lower the learning rate"
                )
            factor = rate_factor(step, steps=course.steps, warm_up_steps=warm_up, final=_FINAL_RATE)
            optimiser.param_groups[0]["lr"] = course.learning_rate * factor
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no stubs for it
            nn.utils.clip_grad_norm_(learning.parameters(), _LONGEST_GRADIENT)
            optimiser.step()
            with torch.no_grad():
                for weight, mask in kept:
                    weight.mul_(mask)
        made = to_onnx(learning)
        parity(learning, made, preparation.pixels(_as_images(crops_rgb[:_PROBES])))
    return made


def _module(model_bytes: bytes) -> nn.Module:
    read = read_onnx_graph(model_bytes)
    module = build_backbone(Architecture(kind="graph", dimension=1, arguments=read.graph.to_arguments()))
    module.load_state_dict(read.state)
    return module


def _batch(crops_rgb: NDArray[np.uint8], course: RecoveryCourse, step: int) -> Tensor:
    """Crops of one step, each varied; every crop comes once before any comes again."""
    places = np.arange(step * course.batch_size, (step + 1) * course.batch_size)
    rounds, seats = divmod(places, len(crops_rgb))
    orders = {turn: _order(len(crops_rgb), course.seed, turn) for turn in sorted({*rounds.tolist()})}
    rows = [int(orders[turn][seat]) for turn, seat in zip(rounds.tolist(), seats.tolist(), strict=True)]
    draws = generator_for(course.seed, 1, step).random((len(rows), DRAWS))
    varied = [augmented(crops_rgb[row], course.augmentation, own) for row, own in zip(rows, draws, strict=True)]
    return _as_images(np.stack(varied))


def _order(crops: int, seed: int, turn: int) -> NDArray[np.int64]:
    return generator_for(seed, 0, turn).permutation(crops)


def _as_images(crops_rgb: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(crops_rgb.transpose(0, 3, 1, 2)))


@contextmanager
def _repeatable(threads: int) -> Iterator[None]:
    """Put back afterwards: other work of this process keeps its threads."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])

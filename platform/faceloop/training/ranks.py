"""The processes of one training as they see one another. Home of `torch.distributed` in the trainer."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from faceloop.training.train_params import TrainParams
from facestore.errors import ConfigError

Small = TypeVar("Small")
_PATIENCE = timedelta(minutes=30)  # of a rank that waits for the others, who may be writing a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process (`rank`), how many there are (`ranks`), and where it computes."""

    rank: int = 0
    ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Element by element over all ranks; every rank gets it."""
        if self.ranks > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def gather(self, value: object) -> list[object]:
        """What each rank gave, in their order; small values only."""
        if self.ranks == 1:
            return [value]
        found: list[object] = [None] * self.ranks
        dist.all_gather_object(found, value)
        return found

    def from_first(self, value: Small | None) -> Small:
        """What rank 0 gave, on every rank."""
        return self.gather(value)[0]  # type: ignore[return-value]  # rank 0 gave one

    def collect(self, part: Tensor) -> Tensor:
        """Rows of all ranks one below the other, on the CPU of every rank; shares may differ in length."""
        if self.ranks == 1:
            return part.detach().cpu().clone()
        lengths = [int(length) for length in self.gather(len(part))]  # type: ignore[call-overload]
        parts = []
        for source, length in enumerate(lengths):
            piece = part.detach().clone() if source == self.rank else part.new_empty((length, *part.shape[1:]))
            dist.broadcast(piece, src=source)
            parts.append(piece.cpu())
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.ranks > 1:
            dist.barrier()


def device_for(wish: str, *, local_rank: int) -> torch.device:
    """`auto` takes a GPU where torch sees one. Raises ConfigError for `cuda` without one."""
    if wish == "cpu" or (wish == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if torch.cuda.device_count() <= local_rank:
        raise ConfigError(
            f"train.device {wish!r} with {local_rank + 1} ranks or more, but torch sees {torch.cuda.device_count()} "
            "GPUs; set train.device to cpu, or train.ranks to the number of GPUs"
        )
    return torch.device("cuda", local_rank)


@contextmanager
def joined(rank: int, ranks: int, *, device: torch.device, init_method: str = "env://") -> Iterator[World]:
    """Join the process group (gloo on CPUs, nccl on GPUs) while the work lasts; nothing to join for one rank.

    Models that average over the group must be gone by the end of it: the last of them to go takes the group along and
    waits for its threads while it holds the interpreter, which they may be waiting for (torch 2.13).
    """
    world = World(rank=rank, ranks=ranks, device=device)
    if ranks == 1:
        yield world
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=ranks, timeout=_PATIENCE)
    try:
        yield world
    finally:
        gc.collect()  # cycles hold them too
        dist.destroy_process_group()


@contextmanager
def repeatable(params: TrainParams, *, threads: int, device: torch.device) -> Iterator[None]:
    """torch set up so that the same training gives the same bits on the same machine; put back afterwards.

    Raises ConfigError for a precision that the device does not have.
    """
    if params.amp == "fp16" and device.type == "cpu":
        raise ConfigError("train.amp is fp16 on a CPU, where it loses range and gains nothing; set it to bf16 or off")
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
    torch.set_num_threads(threads)
    # cuBLAS has kernels without a repeatable form unless its workspace is set before it starts: then only a warning.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.backends.cudnn.benchmark = before[2]

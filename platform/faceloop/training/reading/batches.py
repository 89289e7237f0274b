"""Batches of a train split for one rank of a training.

Which samples a step holds and how each is augmented depends only on (seed, epoch, step, place in the global batch),
not on workers, ranks or where the training was resumed.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from faceloop.training.reading.augmentation_profile import AugmentationProfile
from faceloop.training.reading.decoded import DecodedPictures
from faceloop.training.reading.labels import Float32Array, read_labels
from faceloop.training.reading.order import PerIdentity, Sampler, order_of
from faceloop.training.reading.ring import Ring
from faceloop.training.reading.steps import Place, Step, StepReader
from facestore.errors import ConfigError, FaceloopError, StageError
from facestore.seal import PayloadCodec
from facestore.shards import ShardReader

_AHEAD_PER_WORKER = 3
_IN_HAND = 3  # batches that whoever trains may hold while workers are ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepDecoded:
    """Keep decoded pictures in a file without a name below `folder`, up to `room_bytes` of them."""

    folder: Path
    room_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images` (B, 3, 112, 112) uint8 RGB, channels last in memory; `labels` (B,) int64; else (B,) f32 in [0, 1]."""

    images: Tensor
    labels: Tensor
    confidences: Tensor
    qualities: Tensor


class TrainReader:
    """Reads `split_dir` (labelled LMDB shards) in global batches of `batch_size`; this rank gets its equal part.

    `augmentation` None: pictures as they are stored. `workers` 0 reads in this process; workers stay between epochs
    and end with `close`, with the reader, or with this process. `start_method` spawn where forking is not safe.
    `weights` (n,) by row: given out as the confidences of batches, in place of the labels'. `payload` opens encrypted
    pictures.
    Raises ConfigError when ranks or sampler cannot share out the batch, DataError for a split without labels,
    StoreError where there is no room for what `keep_decoded` asks.
    """

    def __init__(
        self,
        split_dir: Path,
        *,
        batch_size: int,
        sampler: Sampler,
        augmentation: AugmentationProfile | None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        seed: int = 0,
        start_method: Literal["fork", "spawn", "forkserver"] = "fork",
        is_pinned: bool = False,
        keep_decoded: KeepDecoded | None = None,
        weights: Float32Array | None = None,
        payload: PayloadCodec | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size or batch_size % world_size:
            raise ConfigError(f"batch size {batch_size} cannot be shared by {world_size} ranks (this is rank {rank})")
        if isinstance(sampler, PerIdentity) and batch_size // world_size % sampler.samples_per_identity:
            raise ConfigError(
                f"a rank's {batch_size // world_size} samples must hold whole identities of "
                f"{sampler.samples_per_identity}; change batch_size or samples_per_identity"
            )
        shards = ShardReader(split_dir, payload=payload)
        if workers:
            shards.check_files()  # once here, not once in every worker
        labels = read_labels(split_dir, shards)
        order = order_of(sampler, labels, batch_size=batch_size, seed=seed)
        part = batch_size // world_size
        self.samples, self.classes = len(labels), int(labels.class_index.max()) + 1
        self.steps_per_epoch = order.steps_per_epoch
        self._labels = labels
        self._weights = labels.confidence if weights is None else weights
        # Page-locked batches are copied on their way, so there is nothing to gain from blocks.
        blocks = workers * _AHEAD_PER_WORKER + _IN_HAND
        self._ring = Ring(blocks=blocks, pictures=part) if workers and not is_pinned else None
        decoded = None
        if keep_decoded is not None:
            decoded = DecodedPictures(
                keep_decoded.folder,
                samples=self.samples,
                room_bytes=keep_decoded.room_bytes,
                is_sealed=shards.is_sealed,
            )
        self._steps = StepReader(
            shards=shards,
            labels=labels,
            order=order,
            profile=augmentation,
            places=slice(rank * part, (rank + 1) * part),
            batch_size=batch_size,
            seed=seed,
            blocks=None if self._ring is None else self._ring.shared,
            decoded=decoded,
        )
        self._wanted = _Wanted(self._ring)
        self._loader: DataLoader[Step] | None = None
        if workers:
            with _starting_workers():
                self._loader = DataLoader(
                    self._steps,  # type: ignore[arg-type]  # torch names its Dataset class, and needs only __getitem__
                    batch_size=None,
                    sampler=self._wanted,
                    num_workers=workers,
                    persistent_workers=True,
                    prefetch_factor=_AHEAD_PER_WORKER,
                    multiprocessing_context=start_method,
                    worker_init_fn=_one_thread,
                    pin_memory=is_pinned,
                    generator=torch.Generator(),  # its own: the training's numbers stay untouched
                )

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's part of every step of `epoch` from `first_step` on.

        Raises ShardCorrupt, naming the record, when one does not match its hash or its label in the release, and
        StageError when a worker was killed.
        """
        self._wanted.steps = [(epoch, step) for step in range(first_step, self.steps_per_epoch)]
        found: Iterator[Step | FaceloopError]
        if self._loader is None:
            found = (self._steps[Place(epoch=epoch, step=step)] for epoch, step in list(self._wanted.steps))
        else:
            with _starting_workers():
                found = _alive(iter(self._loader))
        for step in found:
            if isinstance(step, FaceloopError):
                raise step
            yield self._batch(step)

    def _batch(self, step: Step) -> Batch:
        images = step.images
        if images is None and self._ring is not None and step.block is not None:
            images = self._ring.hand_out(step.block)
        if images is None:
            raise StageError("train: a batch came without pictures; this is a fault of the reader, please report it")
        return Batch(
            images=images.permute(0, 3, 1, 2),
            labels=torch.from_numpy(self._labels.class_index[step.rows]),
            confidences=torch.from_numpy(self._weights[step.rows]),
            qualities=torch.from_numpy(self._labels.quality[step.rows]),
        )

    def close(self) -> None:
        """End the workers. The reader can be used no more."""
        self._loader = None


class _Wanted:
    """The steps still to read, each with a block that is free at the time when a worker is asked for it."""

    def __init__(self, ring: Ring | None) -> None:
        self.steps: Sequence[tuple[int, int]] = ()
        self._ring = ring

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Place]:
        if self._ring is not None:
            self._ring.take_back()  # of an epoch that was left early; torch has waited for the workers
        for epoch, step in list(self.steps):
            yield Place(epoch=epoch, step=step, block=None if self._ring is None else self._ring.take())


def _alive(steps: Iterator[Step | FaceloopError]) -> Iterator[Step | FaceloopError]:
    while True:
        with worker_faults():
            step = next(steps, None)
        if step is None:
            return
        yield step


@contextmanager
def worker_faults() -> Iterator[None]:
    """StageError in place of torch's for a worker that was killed.

    torch raises it wherever the process is just then, so whoever computes between batches needs this too.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise StageError(
            f"train: a process that reads was killed ({error}), perhaps for want of memory; the checkpoint before "
            "stays: run train again, with a smaller train.workers or train.batch_size"
        ) from error


@contextmanager
def _starting_workers() -> Iterator[None]:
    """OpenCV's thread pool does not survive a fork: a child that touches it hangs. So there is none meanwhile."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with warnings.catch_warnings():  # more workers than cores are the business of whoever set the number
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            yield
    finally:
        cv2.setNumThreads(threads)


def _one_thread(_worker: int) -> None:
    if cv2.getNumThreads() != 1:  # spawned: nothing was inherited
        cv2.setNumThreads(1)

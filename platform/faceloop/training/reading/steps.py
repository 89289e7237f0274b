"""One step's samples: read, checked, decoded and augmented into one array. Runs in worker processes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from faceloop.training.reading.augmentation_profile import AugmentationProfile
from faceloop.training.reading.augmenting import DRAWS, augmented
from faceloop.training.reading.labels import Int64Array, SplitLabels
from faceloop.training.reading.order import Order
from faceloop.training.reading.randomness import generator_for
from facestore.errors import FaceloopError, ShardCorrupt
from facestore.seal import payload_of
from facestore.shards import ShardReader

Place = tuple[int, int]  # epoch, step
SIDE_PX = 112
_AUGMENTATION = 4  # what a generator is for; 0 to 3 are the orders'


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A batch on its way out of a worker: pictures (B, 3, 112, 112) uint8 in shared memory, and their rows.

    One tensor and no more, because each is handed over as a file descriptor.
    """

    images: Tensor
    rows: Int64Array

    def pin_memory(self) -> "Step":
        """The same in page-locked memory, from which copies to a GPU need not wait."""
        return Step(images=self.images.pin_memory(), rows=self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReader:
    """Map-style dataset: (epoch, step) to this rank's `places` of the global batch. Picklable.

    Errors are handed back as values: torch would bury them in a worker's traceback.
    """

    shards: ShardReader
    labels: SplitLabels
    order: Order
    profile: AugmentationProfile | None
    places: slice
    batch_size: int
    seed: int

    def __getitem__(self, place: Place) -> Step | FaceloopError:
        try:
            return self._read(*place)
        except FaceloopError as error:
            return error

    def _read(self, epoch: int, step: int) -> Step:
        rows = self.order.rows(epoch, step)[self.places]
        draws = None
        if self.profile is not None:
            numbers = generator_for(self.seed, _AUGMENTATION, epoch, step).random((self.batch_size, DRAWS))
            draws = numbers[self.places]
        images = _empty_images(len(rows))
        pixels = images.numpy()
        for place, record in self.shards.sealed(rows.tolist()):
            row = int(rows[place])
            jpeg = payload_of(record, self.labels.digest_of(row), str(row))
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
            if image is None or image.shape != (SIDE_PX, SIDE_PX, 3):
                raise ShardCorrupt(f"record {row}: no picture of {SIDE_PX} × {SIDE_PX}; run pack again")
            if draws is not None and self.profile is not None:
                image = augmented(np.asarray(image, np.uint8), self.profile, draws[place])
            pixels[place] = image
        return Step(images=images.permute(0, 3, 1, 2), rows=rows)


def _empty_images(count: int) -> Tensor:
    """Room for pictures (count, 112, 112, 3) uint8; in a worker it is shared memory, so handing over copies nothing."""
    room = torch.empty((0,), dtype=torch.uint8)
    if get_worker_info() is not None:
        size = count * SIDE_PX * SIDE_PX * 3
        shared = room._typed_storage()._new_shared(size, device="cpu")  # type: ignore[no-untyped-call]
        room = room.new(shared)  # as torch's own default_collate
    return room.resize_((count, SIDE_PX, SIDE_PX, 3))

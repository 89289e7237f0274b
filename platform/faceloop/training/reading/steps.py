"""One step's samples: read, checked, decoded and augmented into one array. Runs in worker processes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from faceloop.training.reading.augmentation_profile import AugmentationProfile
from faceloop.training.reading.augmenting import DRAWS, augmented
from faceloop.training.reading.decoded import DecodedPictures
from faceloop.training.reading.labels import Int64Array, SplitLabels
from faceloop.training.reading.order import Order
from faceloop.training.reading.randomness import generator_for
from faceloop.training.reading.ring import PICTURE_BYTES, SIDE_PX, Blocks
from faceloop.training.reading.shared_room import UInt8Array
from facestore.errors import FaceloopError, ShardCorrupt
from facestore.shards import ShardReader

_AUGMENTATION = 4  # what a generator is for; 0 to 3 are the orders'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which step to read, and the block of memory to put it in; None: in room of its own."""

    epoch: int
    step: int
    block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A batch on its way out of a worker: the block that holds it, else its pictures (B, 112, 112, 3) uint8."""

    block: int | None
    images: Tensor | None
    rows: Int64Array

    def pin_memory(self) -> "Step":
        """The same in page-locked memory, from which copies to a GPU need not wait."""
        return Step(block=self.block, images=None if self.images is None else self.images.pin_memory(), rows=self.rows)


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
    blocks: Blocks | None
    decoded: DecodedPictures | None

    def __getitem__(self, place: Place) -> Step | FaceloopError:
        try:
            return self._read(place)
        except FaceloopError as error:
            return error

    def _read(self, place: Place) -> Step:
        rows = self.order.rows(place.epoch, place.step)[self.places]
        images = None
        if place.block is not None and self.blocks is not None:
            pixels = self.blocks.block(place.block)
        else:
            images = _room_for(len(rows))
            pixels = images.numpy()
        self._decode(rows, pixels)
        if self.profile is not None:
            at = (place.epoch, place.step)
            draws = generator_for(self.seed, _AUGMENTATION, *at).random((self.batch_size, DRAWS))[self.places]
            for image, own in zip(pixels, draws, strict=True):
                image[...] = augmented(image, self.profile, own)
        return Step(block=place.block, images=images, rows=rows)

    def _decode(self, rows: Int64Array, pixels: UInt8Array) -> None:
        """Pictures of `rows` as they are stored, to `pixels` (rows, 112, 112, 3)."""
        wanted, decoded = rows.tolist(), self.decoded
        missing = list(range(len(wanted)))
        if decoded is not None:
            missing = [place for place in missing if not decoded.read_into(wanted[place], pixels[place])]
        for found, record in self.shards.sealed([wanted[place] for place in missing]):
            place, row = missing[found], wanted[missing[found]]
            jpeg = self.shards.picture_in(record, self.labels.digest_of(row), row)
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
            if image is None or image.shape != (SIDE_PX, SIDE_PX, 3):
                raise ShardCorrupt(f"record {row}: no picture of {SIDE_PX} × {SIDE_PX}; run pack again")
            pixels[place] = image
            if decoded is not None:
                decoded.keep(row, pixels[place])


def _room_for(count: int) -> Tensor:
    """Pictures (count, 112, 112, 3) uint8; in a worker it is shared memory, so handing over copies nothing."""
    room = torch.empty((0,), dtype=torch.uint8)
    if get_worker_info() is not None:
        shared = room._typed_storage()._new_shared(count * PICTURE_BYTES, device="cpu")  # type: ignore[no-untyped-call]
        room = room.new(shared)  # as torch's own default_collate
    return room.resize_((count, SIDE_PX, SIDE_PX, 3))

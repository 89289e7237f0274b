"""Blocks of memory that batches lie in, used again and again: fresh pages for each batch cost as much as a third of
decoding it."""

from collections import deque
from weakref import finalize

import torch
from torch import Tensor

from faceloop.training.reading.shared_room import SharedRoom, UInt8Array

SIDE_PX = 112
PICTURE_BYTES = SIDE_PX * SIDE_PX * 3


class Blocks:
    """`blocks` times room for `pictures` of 112 × 112 × 3 bytes. What workers get of a ring."""

    def __init__(self, *, blocks: int, pictures: int) -> None:
        self.blocks, self.pictures = blocks, pictures
        self._room = SharedRoom(blocks * pictures * PICTURE_BYTES)

    def block(self, number: int) -> UInt8Array:
        """(pictures, 112, 112, 3) uint8, in shared memory."""
        size = self.pictures * PICTURE_BYTES
        flat = self._room.bytes[number * size : (number + 1) * size]
        return flat.reshape(self.pictures, SIDE_PX, SIDE_PX, 3)


class Ring:
    """Which blocks are free: one comes back when the last tensor that looks at it is gone.

    Of the reading process alone. Whoever keeps many batches gets no block for further ones: `take` says None, and the
    worker makes room of its own.
    """

    def __init__(self, *, blocks: int, pictures: int) -> None:
        self.shared = Blocks(blocks=blocks, pictures=pictures)
        self._free = deque(range(blocks))
        self._underway: set[int] = set()

    def take(self) -> int | None:
        """A block for a worker to fill, if one is free."""
        if not self._free:
            return None
        number = self._free.popleft()
        self._underway.add(number)
        return number

    def hand_out(self, number: int) -> Tensor:
        """The block that a worker has filled, (pictures, 112, 112, 3) uint8."""
        self._underway.remove(number)
        pictures = self.shared.block(number)
        finalize(pictures, self._free.append, number).atexit = False  # torch keeps this very array with the storage
        return torch.from_numpy(pictures)

    def take_back(self) -> None:
        """Blocks that were asked for and never handed out are free again; no worker may be at work on one."""
        self._free.extend(sorted(self._underway))
        self._underway.clear()

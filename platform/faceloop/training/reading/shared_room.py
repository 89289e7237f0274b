"""Memory that the reading process and its workers share. It has no name, so nothing is left of it after a SIGKILL."""

import mmap
import os
import tempfile
from multiprocessing.reduction import DupFd
from pathlib import Path
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from facestore.errors import StoreError

UInt8Array = NDArray[np.uint8]


class SharedRoom:
    """`size_bytes`, zeros at first: main memory, or disk below `folder`, reserved at once so that it lasts.

    Goes through a fork, and is picklable while a process is spawned. Ends with the last process that has it. Raises
    StoreError where there is not so much.
    """

    def __init__(self, size_bytes: int, folder: Path | None = None) -> None:
        self.size_bytes = size_bytes
        self._file = _unnamed(size_bytes, folder)
        self._array: UInt8Array | None = None
        finalize(self, os.close, self._file)

    @property
    def bytes(self) -> UInt8Array:
        """All of it, (size_bytes,) uint8, the same memory in every process."""
        if self._array is None:
            self._array = np.frombuffer(mmap.mmap(self._file, self.size_bytes), np.uint8)
        return self._array

    def __getstate__(self) -> tuple[int, object]:
        return self.size_bytes, DupFd(self._file)

    def __setstate__(self, state: tuple[int, object]) -> None:
        self.size_bytes, self._array = state[0], None
        self._file = state[1].detach()  # type: ignore[attr-defined]  # what DupFd gives depends on the start method
        finalize(self, os.close, self._file)


def _unnamed(size_bytes: int, folder: Path | None) -> int:
    try:
        if folder is None and hasattr(os, "memfd_create"):  # not /dev/shm, of which a container has 64 MiB
            file = os.memfd_create("faceloop-batches")
            os.ftruncate(file, size_bytes)
            return file
        with tempfile.TemporaryFile(dir=folder, buffering=0) as opened:
            os.posix_fallocate(opened.fileno(), 0, size_bytes)
            return os.dup(opened.fileno())
    except OSError as error:
        raise StoreError(
            f"no room for {size_bytes / 2**30:.2f} GiB of decoded pictures ({error.strerror}); free space, or lower "
            "train.keep_decoded_gib"
        ) from error

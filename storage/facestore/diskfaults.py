"""A disk that is full, failing or read-only, said as an error of ours wherever files are written."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from facestore.errors import StoreError

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


@contextmanager
def disk_faults(doing: str, then: str = "nothing of it was published: make room, then run again") -> Iterator[None]:
    """Raises StoreError, which names what could not be done and what then, for an OSError that is the disk's.

    What was being written is lost by then. An fsync that failed is never tried again, since the kernel may have dropped
    the bytes and called them clean (Rebello et al., "Can Applications Recover from fsync Failures?", 2020): it is
    written anew.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise StoreError(f"cannot {doing}: {error}; {then}") from error

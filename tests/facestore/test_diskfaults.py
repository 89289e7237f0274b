"""Errors of the disk are ours; all others pass as they are."""

import errno

import pytest

from facestore.diskfaults import disk_faults
from facestore.errors import StoreError


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_full_failing_or_read_only_disk_is_a_store_error_that_says_what_was_not_done(number: int) -> None:
    with pytest.raises(StoreError, match=r"cannot run pack: .*then run again"), disk_faults("run pack"):
        raise OSError(number, "of the disk")


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "gone"), PermissionError(errno.EACCES, "no"), ValueError()]
)
def test_any_other_error_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), disk_faults("run pack"):
        raise error

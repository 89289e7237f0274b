"""A power cut: an ext4 file system in a file, copied while its writer is stopped, and mounted again from the copy.

What the kernel had not written to the image by then is lost, as when the power goes; mounting the copy replays the
journal, as when it comes back.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SIZE_MB = 48


@functools.cache
def why_not() -> str:
    """Why no image can be mounted here; empty where it can."""
    if os.geteuid() != 0:
        return "mounting an image needs root"
    if missing := [name for name in ("losetup", "mkfs.ext4", "mount", "umount") if shutil.which(name) is None]:
        return f"not on this machine: {', '.join(missing)}"
    try:
        with disk() as (image, _):
            return "" if image.exists() else "no image"
    except (subprocess.CalledProcessError, OSError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return f"no image can be mounted here: {said.strip()}"


def need_power_cuts() -> None:
    if reason := why_not():
        pytest.skip(reason)


@contextmanager
def disk() -> Iterator[tuple[Path, Path]]:
    """A new image, and where it is mounted."""
    with _folder() as folder:
        image = folder / "disk.img"
        with image.open("wb") as stream:
            stream.truncate(_SIZE_MB << 20)
        _do("mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^metadata_csum", "-E", "lazy_itable_init=0", str(image))
        with _mounted(image, folder / "mnt") as mounted:
            yield image, mounted


@contextmanager
def after_a_cut(image: Path) -> Iterator[Path]:
    """What is on the image at this moment, mounted from a copy; nobody may write to the original meanwhile."""
    with _folder() as folder:
        copy = folder / "disk.img"
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", str(image), str(copy)], check=True)
        with _mounted(copy, folder / "mnt") as mounted:
            yield mounted


@contextmanager
def _mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    _do("mount", "-o", "loop", str(image), str(at))
    try:
        yield at
    finally:
        _do("umount", "-l", str(at))  # lazily: a reader of the test may be slow to let go; detaches the loop device too


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="chaos-power-"))
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)

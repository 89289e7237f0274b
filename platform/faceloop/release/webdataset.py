"""WebDataset: tar files of `00000012.jpg` and `00000012.json`, in this order, with fixed times and owners.

Equal samples give equal files. Reading takes regular files of flat names only: tar can also hold links, devices and
paths that lead out of a folder, and nothing is ever unpacked here.
"""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from faceloop.release.plain_samples import MOST_JPEG_BYTES, PlainSample
from facestore.errors import DataError
from facestore.ids import canonical_json

SAMPLES_PER_TAR = 4096
_PICTURE, _LABEL = "jpg", "json"


def write_webdataset(folder: Path, samples: Iterable[PlainSample], *, samples_per_tar: int = SAMPLES_PER_TAR) -> int:
    """`000000.tar`, `000001.tar`, …; returns how many samples were written."""
    written = 0
    tar: tarfile.TarFile | None = None
    try:
        for place, sample in enumerate(samples):
            if place % samples_per_tar == 0:
                if tar is not None:
                    tar.close()
                path = folder / f"{place // samples_per_tar:06d}.tar"
                tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # closed below
            if tar is not None:
                label = canonical_json({"class_index": sample.class_index}).encode()
                for kind, payload in ((_PICTURE, sample.jpeg), (_LABEL, label)):
                    member = tarfile.TarInfo(f"{place:08d}.{kind}")
                    member.size, member.mode = len(payload), 0o600
                    tar.addfile(member, io.BytesIO(payload))
            written += 1
    finally:
        if tar is not None:
            tar.close()
    return written


def read_webdataset(folder: Path) -> Iterator[PlainSample]:
    """Samples in the order of the files' names. Raises DataError for a tar that holds anything else, and for none."""
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise DataError("there are no tar files in the folder; name one that holds 000000.tar, …")
    for number, path in enumerate(paths):
        try:
            with tarfile.open(path, "r:") as tar:  # uncompressed: a compressed one may be a bomb
                yield from _samples(tar, number)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"tar {number} cannot be read ({error}); take another copy of it") from error


def _samples(tar: tarfile.TarFile, number: int) -> Iterator[PlainSample]:
    waiting: tuple[str, bytes] | None = None
    for member in tar:
        stem, _, kind = member.name.partition(".")
        is_flat = "/" not in member.name and "\\" not in member.name and stem != ""
        if not member.isreg() or member.issparse() or not is_flat or kind not in (_PICTURE, _LABEL):
            raise DataError(f"tar {number} holds something else than pictures and their labels; leave it out")
        if member.size > MOST_JPEG_BYTES:
            raise DataError(f"tar {number} holds a file of {member.size} bytes; that is no crop")
        stream = tar.extractfile(member)
        payload = b"" if stream is None else stream.read(MOST_JPEG_BYTES + 1)
        if len(payload) != member.size:
            raise DataError(f"tar {number} is cut short; take another copy of it")
        if waiting is None:
            waiting = (stem, payload) if kind == _PICTURE else None
            if waiting is None:
                raise DataError(f"tar {number}: a label without its picture before it; leave it out")
            continue
        if kind != _LABEL or stem != waiting[0]:
            raise DataError(f"tar {number}: a picture without its label behind it; leave it out")
        yield PlainSample(class_index=_class_in(payload, number), jpeg=waiting[1])
        waiting = None
    if waiting is not None:
        raise DataError(f"tar {number}: the last picture has no label; take another copy of it")


def _class_in(payload: bytes, number: int) -> int:
    try:
        index = json.loads(payload)["class_index"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"tar {number}: a label without class_index; leave it out") from error
    if not isinstance(index, int) or isinstance(index, bool):
        raise DataError(f"tar {number}: {type(index).__name__} is no class_index; give whole numbers")
    return index

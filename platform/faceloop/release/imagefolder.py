"""ImageFolder: one folder a class, named by its number, one JPEG a sample. No names of people."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from faceloop.release.plain_samples import MOST_JPEG_BYTES, PlainSample
from facestore.errors import DataError

_SUFFIXES = frozenset({".jpg", ".jpeg"})


def write_imagefolder(folder: Path, samples: Iterable[PlainSample]) -> int:
    """`000012/00000345.jpg`: class, place in the order given. Returns how many were written.

    Numbers are padded: readers of this format number folders in the order of their names, and so come to the same.
    """
    written = 0
    for place, sample in enumerate(samples):
        own = folder / f"{sample.class_index:08d}"
        own.mkdir(exist_ok=True)
        (own / f"{place:08d}.jpg").write_bytes(sample.jpeg)
        written += 1
    return written


def read_imagefolder(folder: Path) -> Iterator[PlainSample]:
    """Folders count as classes in the order of their names, which are not kept; files in the order of theirs.

    Raises DataError for a link, for anything else than folders of JPEGs, and for none.
    """
    classes = sorted(folder.iterdir())
    if not classes:
        raise DataError("the folder is empty; name one that holds a folder for each class")
    for number, own in enumerate(classes):
        if own.is_symlink() or not own.is_dir():
            raise DataError(f"entry {number} of the folder is no folder; leave only folders of pictures in it")
        for place, path in enumerate(sorted(own.iterdir())):
            if path.is_symlink() or not path.is_file() or path.suffix.lower() not in _SUFFIXES:
                raise DataError(f"entry {place} of folder {number} is no JPEG file; leave only pictures in it")
            if path.stat().st_size > MOST_JPEG_BYTES:
                raise DataError(f"picture {place} of folder {number} is larger than {MOST_JPEG_BYTES} bytes")
            yield PlainSample(class_index=number, jpeg=path.read_bytes())

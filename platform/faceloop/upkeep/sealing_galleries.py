"""Galleries that were published before their root was encrypted: the same people, sealed, under a new digest."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from faceloop.clustering.index_file import IndexFile
from faceloop.export.gallery import ABOUT, DIGEST_HEX, MEMBERS, ROWS, verify_gallery, write_sums
from faceloop.export.gallery_people import GalleryRow
from faceloop.export.gallery_shelf import CURRENT, GALLERIES, history_of
from faceloop.export.gallery_vectors import INDEX, write_sealed
from facestore.ids import canonical_json, file_sha256
from facestore.publish import sync_path, sync_tree, write_whole

_WAITING = ".sealing.partial"


def plain_galleries(root: Path) -> list[str]:
    """Names of galleries whose vectors lie there as they are."""
    shelf = root / GALLERIES
    return sorted(path.parent.name for path in shelf.glob(f"[!.]*/{INDEX}")) if shelf.is_dir() else []


def seal_galleries(root: Path) -> int:
    """Put a sealed gallery in the place of each plain one; returns how many. Killed in between, call it again.

    Raises DataError for a gallery that is not what it says.
    """
    names = plain_galleries(root)
    for name in names:
        sealed = _seal_gallery(root / GALLERIES, name)
        history = history_of(root)
        if name in history:
            moved = [sealed if one == name else one for one in history]
            pointer = canonical_json({"before": list(moved[:-1]), "gallery": moved[-1]}) + "\n"
            write_whole(root / GALLERIES / CURRENT, pointer)
        shutil.rmtree(root / GALLERIES / name)
    return len(names)


def _seal_gallery(shelf: Path, name: str) -> str:
    folder, waiting = shelf / name, shelf / _WAITING
    verify_gallery(folder)
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir()
    for file in (ABOUT, ROWS, MEMBERS):
        shutil.copyfile(folder / file, waiting / file)
    rows = [GalleryRow(**row) for row in pq.read_table(folder / ROWS, partitioning=None).to_pylist()]
    write_sums(waiting, write_sealed(waiting, rows, IndexFile(folder / INDEX).vectors()))
    sync_tree(waiting)
    sealed = file_sha256(waiting / "SHA256SUMS")[:DIGEST_HEX]
    if (shelf / sealed).is_dir():
        shutil.rmtree(waiting)
    else:
        waiting.rename(shelf / sealed)
    sync_path(shelf)
    return sealed

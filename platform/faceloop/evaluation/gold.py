"""Gold: faces whose person is known, that nothing was trained on. What every measurement here starts from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError
from facestore.images import UInt8Array
from facestore.records import ReleaseSample, Split
from facestore.shards import ShardReader
from facestore.tables import read_table

Int64Array = NDArray[np.int64]


class CropSource(Protocol):
    """Aligned crops by row: RGB uint8 (rows, 112, 112, 3), in the order asked for."""

    def read(self, rows: Sequence[int]) -> UInt8Array: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gold:
    """Faces in the order of their ids, so that no figure depends on the order of files.

    Two faces of one occasion (a tracklet) are one look at a person: their pair proves nothing and is not counted.
    """

    name: str
    face_ids: tuple[str, ...]
    identity_ids: tuple[str, ...]  # by identity number
    identity: Int64Array  # (n,) identity number of each face
    occasion: Int64Array  # (n,) occasion number of each face; of one's own where nothing is known
    crops: CropSource
    has_crop: NDArray[np.bool_]  # (n,) False: a photo in which no face was found; it is like nobody

    def __len__(self) -> int:
        return len(self.face_ids)


def gold_of(
    name: str,
    faces: Iterable[tuple[str, str, str]],
    crops: CropSource,
    *,
    without_crop: frozenset[str] = frozenset(),
) -> Gold:
    """Gold of (face id, identity id, occasion); its `crops` are asked by row, in the order of face ids.

    Raises DataError for a face that is there twice.
    """
    given = list(faces)
    order = sorted(range(len(given)), key=lambda place: given[place][0])
    face_ids = tuple(given[place][0] for place in order)
    if len(set(face_ids)) < len(face_ids):
        raise DataError(f"gold {name}: a face is there twice; name each once")
    identity_ids, identity = _numbered([given[place][1] for place in order])
    _, occasion = _numbered([given[place][2] for place in order])
    return Gold(
        name=name,
        face_ids=face_ids,
        identity_ids=identity_ids,
        identity=identity,
        occasion=occasion,
        crops=crops,
        has_crop=np.array([face_id not in without_crop for face_id in face_ids], np.bool_),
    )


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], Int64Array]:
    known, number = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return tuple(known.tolist()), number.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldCrops:
    """Crops in memory: RGB uint8 (n, 112, 112, 3)."""

    images: UInt8Array

    def read(self, rows: Sequence[int]) -> UInt8Array:
        return self.images[list(rows)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReleasedCrops:
    """Crops in the shards of a release; every read checks the hash of the record."""

    readers: dict[Split, ShardReader]
    places: tuple[tuple[Split, int], ...]  # split and row, by gold row

    def read(self, rows: Sequence[int]) -> UInt8Array:
        if not rows:
            return np.empty((0, 112, 112, 3), np.uint8)
        return np.stack([self.readers[split][at].image_rgb for split, at in (self.places[row] for row in rows)])


def gold_of_release(
    release: Path, splits: Sequence[Split], occasion_of: dict[str, str], *, name: str = "release"
) -> Gold:
    """The samples of some splits of a release. `occasion_of` face ids: those that it lacks stand alone.

    Raises ShardCorrupt for shards that contradict their index.
    """
    samples = sorted(
        (row for row in read_table(release, "samples", ReleaseSample) if row.split in splits),
        key=lambda row: row.face_id,
    )
    crops = ReleasedCrops(
        readers={split: ShardReader(release / split) for split in splits},
        places=tuple((row.split, row.row) for row in samples),
    )
    faces = ((row.face_id, row.identity_id, occasion_of.get(row.face_id, row.face_id)) for row in samples)
    return gold_of(name, faces, crops)

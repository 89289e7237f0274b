"""Gold that does not change with a release: folders of photos, or of aligned crops, that params name.

A folder a person; the photos go through the platform's own detector and alignment, the largest face of each counts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from faceloop.evaluation.gold import Gold, HeldCrops, gold_of
from faceloop.footage.apart import read_photo_apart
from faceloop.footage.limits import DecoderLimits
from faceloop.params import StageParams
from faceloop.vision.align import CROP_SIDE_PX, align_crop, are_alignable
from faceloop.vision.detections import Detector
from faceloop.vision.lookout import LookParams, look_at_photo
from facestore.errors import DataError, MediaError
from facestore.ids import JsonValue, digest_of, file_sha256
from facestore.images import UInt8Array

_ENDINGS = (".jpg", ".jpeg", ".png")
_LOOK = LookParams(long_side_px=640, detail_long_side_px=1280, detail_every=1)


class GoldSetParams(StageParams):
    """One frozen gold set. `pairs`: its `pairs_file` is the protocol of LFW, and only its photos are read."""

    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    kind: Literal["folders", "pairs"]
    path: str
    pairs_file: str | None
    except_file: str | None  # paths relative to `path`, one a line: photos that lie in the wrong folder
    is_aligned: bool  # pictures are crops of 112 × 112 already

    @model_validator(mode="after")
    def _pairs_come_from_a_file(self) -> "GoldSetParams":
        if (self.kind == "pairs") != (self.pairs_file is not None):
            raise ValueError("pairs_file belongs to kind pairs, and to no other")
        return self


def photos_of(params: GoldSetParams) -> tuple[str, ...]:
    """Photos as PERSON/FILE, sorted. Raises DataError for a folder that is missing, or holds none."""
    root = Path(params.path).expanduser()
    if not root.is_dir():
        raise DataError(f"gold set {params.name}: no folder {params.path}; correct evaluate.gold")
    excepted = set(_lines(params.except_file)) if params.except_file else set()
    found = (path.relative_to(root).as_posix() for path in root.glob("*/*") if path.suffix.lower() in _ENDINGS)
    photos = tuple(sorted(name for name in found if name not in excepted))
    if not photos:
        raise DataError(f"gold set {params.name}: no photos PERSON/FILE.jpg in {params.path}; correct evaluate.gold")
    return photos


def digest_of_set(params: GoldSetParams) -> str:
    """Changes with any byte that the figures depend on: photos, names, pairs, exceptions."""
    root = Path(params.path).expanduser()
    papers = [file_sha256(Path(name).expanduser()) for name in (params.pairs_file, params.except_file) if name]
    photos: list[JsonValue] = [[name, file_sha256(root / name)] for name in photos_of(params)]
    return digest_of([*papers, *photos])


def read_gold_set(
    params: GoldSetParams, photos: Sequence[str], detector: Detector | None, limits: DecoderLimits
) -> Gold:
    """Gold of PERSON/FILE photos. Its ids are digests (`set_id`): names of people stay on their disk.

    A photo without a face, or one that cannot be read, stays in and is like nobody. `detector` may be None for a set
    that is aligned. Raises DataError for a crop of another size.
    """
    root = Path(params.path).expanduser()
    images = np.zeros((len(photos), CROP_SIDE_PX, CROP_SIDE_PX, 3), np.uint8)
    missing: set[str] = set()
    for row, name in enumerate(photos):
        crop = _crop(root / name, params, detector, limits)
        if crop is None:
            missing.add(set_id(name))
        else:
            images[row] = crop
    ids = [set_id(name) for name in photos]
    faces = ((face, set_id(PurePosixPath(name).parent.name), face) for face, name in zip(ids, photos, strict=True))
    order = sorted(range(len(photos)), key=lambda row: ids[row])
    return gold_of(params.name, faces, HeldCrops(images=images[order]), without_crop=frozenset(missing))


def set_id(name: str) -> str:
    """The id under which a photo or person of a gold set is known to tables and pictures."""
    return digest_of(name)[:24]


def _crop(path: Path, params: GoldSetParams, detector: Detector | None, limits: DecoderLimits) -> UInt8Array | None:
    try:
        picture = read_photo_apart(path, limits)
    except MediaError:
        return None
    if params.is_aligned or detector is None:
        crop = np.ascontiguousarray(picture.full_bgr()[:, :, ::-1])
        if crop.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3):
            raise DataError(
                f"gold set {params.name}: a picture is {crop.shape[1]} × {crop.shape[0]} px, crops are "
                f"{CROP_SIDE_PX} × {CROP_SIDE_PX}; set is_aligned to false"
            )
        return crop
    found = look_at_photo(detector, picture, _LOOK)
    found = found.select(are_alignable(found.landmarks_px))
    if not len(found):
        return None
    sides = found.boxes_xyxy_px[:, 2:] - found.boxes_xyxy_px[:, :2]
    return align_crop(picture.full_bgr(), found.landmarks_px[int(np.argmax(sides.prod(axis=1)))])


def _lines(file: str) -> Iterator[str]:
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); correct evaluate.gold") from error
    return (line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))

"""Faces that can be found no more, since the media went with a person who was erased: others' stay as they were."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from facestore.crops import CropReader, CropWriter
from facestore.records import Face, Reading
from facestore.tables import TableWriter, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What an earlier run published of some footage."""

    faces: Mapping[str, Sequence[tuple[Face, str | None]]]  # by footage: as they are to be written, earlier crop key
    readings: Mapping[str, Reading]
    crops: CropReader | None

    def copy_to(self, footage_id: str, faces: TableWriter[Face], crops: CropWriter) -> Iterator[Face]:
        """Write one footage's faces and their crops; yields each face. Raises ShardCorrupt."""
        for face, crop_key in self.faces.get(footage_id, ()):
            faces.write(face)
            if crop_key is not None and self.crops is not None:
                crops.copy(face.face_id, crop_key, self.crops)
            yield face


def carry(faces_dir: Path | None, crops_dir: Path | None, footage_ids: Set[str], *, batch: str) -> Carried:
    """Look up the faces of these footages; their crops will lie in `batch`. Nothing without an earlier run.

    Raises DataError where the earlier tables cannot be read: without media they are all there is.
    """
    faces: dict[str, list[tuple[Face, str | None]]] = defaultdict(list)
    readings: dict[str, Reading] = {}
    if faces_dir is None or not footage_ids:
        return Carried(faces=faces, readings=readings, crops=None)
    for face in read_table(faces_dir, "faces", Face):
        if face.footage_id in footage_ids:
            key = None if face.crop_key is None else f"{batch}/{face.face_id}"
            faces[face.footage_id].append((replace(face, crop_key=key), face.crop_key))
    for reading in read_table(faces_dir, "readings", Reading):
        if reading.footage_id in footage_ids:
            readings[reading.footage_id] = reading
    return Carried(faces=faces, readings=readings, crops=None if crops_dir is None else CropReader(crops_dir))

"""Face ids as people type them: whole, or by their first hex digits."""

import pyarrow as pa
import pyarrow.compute as pc

from faceloop.runner import Workspace
from facestore.errors import DataError
from facestore.publish import read_manifest
from facestore.records import Face
from facestore.tables import read_columns

MIN_PREFIX = 6


def find_faces(work: Workspace, texts: list[str]) -> list[str]:
    """The id of each named face. Where no faces are published yet, ids are taken as they are.

    Raises DataError for a face that is unknown, and for a prefix that is too short or fits several.
    """
    folder = work.path("faces")
    if not texts or read_manifest(folder) is None:
        return texts
    ids = read_columns(folder, "faces", Face, ["face_id"])["face_id"]
    return [_found(ids, text) for text in texts]


def _found(ids: pa.ChunkedArray, text: str) -> str:
    fits: list[str] = ids.filter(pc.starts_with(ids, text)).to_pylist()
    if text in fits:
        return text
    if len(text) < MIN_PREFIX:
        raise DataError(f"{text!r} is too short for a face; give at least its first {MIN_PREFIX} hex digits")
    if not fits:
        raise DataError(f"no face {text}; the report and the table of faces list them")
    if len(fits) > 1:
        raise DataError(f"{len(fits)} faces begin with {text}: {', '.join(sorted(fits)[:3])} …; give more digits")
    return fits[0]

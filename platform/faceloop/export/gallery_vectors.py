"""The vectors of a published gallery: a faiss index, or in an encrypted root a table in which each row is sealed.

A row is sealed by the key of the face that shows it best, one of the person whom it stands for: when that person is
erased, the row is noise in every copy of the gallery. A search then works on an index that is only in memory.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceloop.clustering.index_file import IndexFile, write_index
from faceloop.export.gallery_people import GalleryRow, Templates
from faceloop.vision.arrays import Float32Array
from facestore.errors import DataError
from facestore.keys import keyring_near
from facestore.records import GalleryVector
from facestore.tables import column_matrix, read_columns, write_table

INDEX, SEALED = "index.faiss", "vectors.parquet"  # a gallery holds one of them


def write_vectors(folder: Path, templates: Templates) -> str:
    """Write the vectors of all rows into a gallery's folder; returns the file's name."""
    if keyring_near(folder / SEALED) is None:
        write_index(folder / INDEX, templates.vectors)
        return INDEX
    return write_sealed(folder, templates.rows, templates.vectors)


def write_sealed(folder: Path, rows: Sequence[GalleryRow], vectors: Float32Array) -> str:
    """In an encrypted root: the vectors (n, d) f32 of these rows, sealed; returns the file's name."""
    pairs = zip(rows, vectors, strict=True)
    write_table(folder / SEALED, GalleryVector, (_vector(row, vector) for row, vector in pairs))
    return SEALED


def _vector(row: GalleryRow, vector: Float32Array) -> GalleryVector:
    return GalleryVector(row=row.row, face_id=row.best_face_id, embedding=tuple(vector.tolist()))


def open_index(folder: Path, file: str, rows: int) -> tuple[list[int], IndexFile]:
    """Rows of the gallery that can still be read, in order, and an index of them; `rows` is how many it should have.

    Raises DataError where the file does not fit them, or where nobody in it can be read any more; StoreError without
    the keys.
    """
    if file == INDEX:
        index = IndexFile(folder / INDEX)
        return list(range(index.rows)), index
    known, vectors = read_sealed(folder)
    if not known:
        raise DataError(f"{folder}: the keys of everybody in it were destroyed; publish a gallery again")
    if known[-1] >= rows:
        raise DataError(f"{folder}: vectors of more rows than the gallery has; publish it again")
    return known, IndexFile.of(vectors)


def read_sealed(folder: Path) -> tuple[list[int], Float32Array]:
    """Rows that can still be read, in order, and their vectors float32 (n, d)."""
    table = read_columns(folder, SEALED.partition(".")[0], GalleryVector).sort_by("row")
    vectors = column_matrix(table, "embedding")
    return table["row"].to_pylist(), np.ascontiguousarray(vectors)

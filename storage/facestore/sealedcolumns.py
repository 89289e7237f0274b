"""Vectors of an encrypted root: a column that is stored sealed, row by row, and read as if it were not.

The file's schema says which column it is and whose key opens a row; its type there is binary. A vector is float32,
little endian. Readers get the declared type back; only a reader without the keys notices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from facestore.errors import DataError, StoreError
from facestore.records import FaceEmbedding, GalleryVector, TrackletTemplate, schema_of

if TYPE_CHECKING:
    from facestore.keys import KeyRing

_OWNERS: dict[type, str] = {FaceEmbedding: "face_id", TrackletTemplate: "tracklet_id", GalleryVector: "face_id"}
_COLUMN = "embedding"
_FLOAT32 = np.dtype("<f4")
_MARK, _OWNER, _KIND = b"sealed", b"owner", b"kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """A sealed column of a file: whose column of ids names the keys, and what the payloads are."""

    column: str
    owner: str
    kind: str


def sealed_column(record: type) -> SealedColumn | None:
    """What of this record type is sealed in an encrypted root; None: nothing."""
    if record not in _OWNERS:
        return None
    return SealedColumn(column=_COLUMN, owner=_OWNERS[record], kind=f"{record.__name__}.{_COLUMN}")


def sealed_schema(declared: pa.Schema, sealed: SealedColumn) -> pa.Schema:
    """The schema that a file has in which this column is sealed."""
    about = {_MARK: b"1", _OWNER: sealed.owner.encode(), _KIND: sealed.kind.encode()}
    field = pa.field(sealed.column, pa.binary(), nullable=False, metadata=about)
    return declared.set(declared.get_field_index(sealed.column), field)


def sealed_in(schema: pa.Schema) -> SealedColumn | None:
    """What is sealed in a file, by its own schema; None: nothing."""
    for field in schema:
        about = field.metadata or {}
        if about.get(_MARK) == b"1":
            return SealedColumn(column=field.name, owner=about[_OWNER].decode(), kind=about[_KIND].decode())
    return None


def plain_record(schema: pa.Schema) -> type | None:
    """The record type whose vectors a file holds as they are; None: it holds none, or sealed ones."""
    return next((record for record in _OWNERS if schema.equals(schema_of(record))), None)


def close_column(
    ring: "KeyRing", sealed: SealedColumn, owners: Sequence[str], vectors: Sequence[Sequence[float]]
) -> pa.Array:
    """Sealed vectors of these owners, whose keys are made where they have none."""
    ring.prepare(owners)
    return pa.array(
        [
            ring.seal(owner, sealed.kind, np.asarray(vector, dtype=_FLOAT32).tobytes())
            for owner, vector in zip(owners, vectors, strict=True)
        ],
        type=pa.binary(),
    )


def columns_to_read(schema: pa.Schema, wanted: Sequence[str] | None) -> list[str] | None:
    """The columns that must be read to have the wanted ones (None: all): a sealed one needs its owners."""
    sealed = sealed_in(schema)
    if wanted is None or sealed is None or sealed.column not in wanted or sealed.owner in wanted:
        return None if wanted is None else list(wanted)
    return [*wanted, sealed.owner]


def open_column(piece: pa.Table, ring: "KeyRing | None", wanted: Sequence[str] | None = None) -> pa.Table:
    """Rows with their sealed column opened, as list<float32>, and the wanted columns in that order (None: all).

    Rows whose key was destroyed are left out (`tables.destroyed_owners` names them). Raises StoreError where
    the file lies in no encrypted root, or its keys are not in the key store; DataError.
    """
    sealed = sealed_in(piece.schema)
    if sealed is not None:
        if ring is None:
            raise StoreError(f"column {sealed.column} is encrypted; read it in the root that has its keys")
        owners = piece.column(sealed.owner).to_pylist()
        ring.fetch(owners)
        if gone := ring.destroyed(owners):
            piece = piece.filter(pa.array([owner not in gone for owner in owners], pa.bool_()))
            owners = piece.column(sealed.owner).to_pylist()
        closed = piece.column(sealed.column).to_pylist()
        opened = [ring.unseal(owner, sealed.kind, row) for owner, row in zip(owners, closed, strict=True)]
        if any(len(vector) % _FLOAT32.itemsize for vector in opened):
            raise DataError(f"column {sealed.column}: no whole numbers of 4 bytes; run the stage that wrote it again")
        lengths = np.fromiter((len(vector) // _FLOAT32.itemsize for vector in opened), np.int64, len(opened))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        flat = pa.array(np.frombuffer(b"".join(opened), dtype=_FLOAT32).astype(np.float32, copy=False))
        field = pa.field(sealed.column, pa.list_(pa.float32()), nullable=False)
        vectors = pa.ListArray.from_arrays(pa.array(offsets), flat)
        piece = piece.set_column(piece.schema.get_field_index(sealed.column), field, vectors)
    return piece if wanted is None else piece.select(list(wanted))

"""Parquet tables with declared schemas: written in streams, read as records or as Arrow columns.

In an encrypted root vectors are stored sealed and read as declared (see `sealedcolumns`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from facestore.errors import DataError
from facestore.keys import KeyRing, keyring_near
from facestore.records import Record, schema_of
from facestore.sealedcolumns import close_column, columns_to_read, open_column, sealed_column, sealed_in, sealed_schema
from facestore.vectors import CONTRACTS, OF_SEVERAL, VECTORS, as_vectors, check_vectors, one_contract

FloatMatrix = npt.NDArray[np.float32]

ROW_GROUP_ROWS = 4_096  # records that wait in memory; a face embedding takes 4 kB as Python floats


class TableWriter(Generic[Record]):
    """Streams records of one type into one Parquet file. Same records in the same order give the same bytes.

    In an encrypted root (found by the path) vectors are sealed.
    """

    def __init__(self, path: Path, record: type[Record]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names = tuple(field.name for field in fields(record))
        self._schema = schema_of(record)
        self._sealed = sealed_column(record)
        self._ring = keyring_near(path) if self._sealed is not None else None
        if self._ring is not None and self._sealed is not None:
            self._schema = sealed_schema(self._schema, self._sealed)
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", write_statistics=True, write_page_checksum=True
        )
        self._waiting: list[Record] = []
        self.rows = 0

    def write(self, record: Record) -> None:
        self._waiting.append(record)
        self.rows += 1
        if len(self._waiting) >= ROW_GROUP_ROWS:
            self._flush()

    def write_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.write(record)

    def _flush(self) -> None:
        columns = [self._column(name) for name in self._names]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), ROW_GROUP_ROWS)
        self._waiting.clear()

    def _column(self, name: str) -> pa.Array:
        values = [getattr(record, name) for record in self._waiting]
        if name == VECTORS and values:
            check_vectors(as_vectors(values), "what was to be written")
        if self._ring is not None and self._sealed is not None and name == self._sealed.column:
            owners = [getattr(record, self._sealed.owner) for record in self._waiting]
            return close_column(self._ring, self._sealed, owners, values)
        return pa.array(values, type=self._schema.field(name).type)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._waiting or self.rows == 0):
            self._flush()
        self._writer.close()
        if self._ring is not None:
            self._ring.close()


def write_table(path: Path, record: type[Record], records: Iterable[Record]) -> int:
    """Write one table file; returns the row count."""
    with TableWriter(path, record) as writer:
        writer.write_all(records)
    return writer.rows


def table_files(directory: Path, name: str) -> list[Path]:
    """The files of table `name` in an artifact: `NAME.parquet`, or one a batch in `BATCH/NAME.parquet`."""
    return sorted([*directory.glob(f"{name}.parquet"), *directory.glob(f"*/{name}.parquet")])


def read_columns(directory: Path, name: str, record: type[Record], columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a table as Arrow columns.

    In an encrypted root whoever reads vectors gets no row whose key was destroyed (`destroyed_owners` names theirs).
    Raises DataError when a file does not have the declared schema.
    """
    schema = schema_of(record)
    parts = []
    ring: KeyRing | None = None
    for path in table_files(directory, name):
        found = _check_schema(path, record)
        if sealed_in(found) is not None and ring is None:
            ring = keyring_near(path)
        try:
            chosen_columns = columns_to_read(found, columns or None)
            part = pq.read_table(path, columns=chosen_columns, partitioning=None, page_checksum_verification=True)
            parts.append(open_column(part, ring, columns or None))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
    if name not in OF_SEVERAL and VECTORS in (columns or schema.names) and CONTRACTS in schema.names:
        one_contract(_contracts(table_files(directory, name)), name)
    chosen = pa.schema([schema.field(column) for column in columns]) if columns else schema
    return pa.concat_tables(parts).combine_chunks() if parts else chosen.empty_table()


def destroyed_owners(directory: Path, name: str, record: type[Record]) -> set[str]:
    """Faces, or tracklets, of a table whose vectors nobody can read any more: their keys were destroyed."""
    gone: set[str] = set()
    for path in table_files(directory, name):
        sealed = sealed_in(_check_schema(path, record))
        ring = keyring_near(path) if sealed is not None else None
        if sealed is None or ring is None:
            continue
        try:
            owners = pq.read_table(path, columns=[sealed.owner], partitioning=None)[sealed.owner].to_pylist()
            gone |= ring.destroyed(set(owners))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
        finally:
            ring.close()
    return gone


def _contracts(paths: Sequence[Path]) -> set[str]:
    tables = (pq.read_table(path, columns=[CONTRACTS], partitioning=None) for path in paths)
    return {str(contract) for table in tables for contract in table[CONTRACTS].unique().to_pylist()}


def read_older(directory: Path, name: str, columns: Sequence[str]) -> pa.Table:
    """Columns of a table that an earlier version of us wrote, whatever else it holds. Raises DataError when it cannot
    be read."""
    try:
        parts = [pq.read_table(path, columns=list(columns), partitioning=None) for path in table_files(directory, name)]
        return pa.concat_tables(parts).combine_chunks()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{directory}: table {name} cannot be read ({error}); remove the folder") from error


def read_table(directory: Path, name: str, record: type[Record]) -> Iterator[Record]:
    """Stream a table as records, batch file by batch file, in stored order."""
    lists = [f.name for f in fields(record) if str(f.type).startswith("tuple")]
    for path in table_files(directory, name):
        ring = keyring_near(path) if sealed_in(_check_schema(path, record)) is not None else None
        for rows in _row_batches(path, ring):
            for row in rows:
                for column in lists:
                    row[column] = tuple(row[column])
                yield record(**row)


def _check_schema(path: Path, record: type[Record]) -> pa.Schema:
    """The schema of a file: the declared one, or that with its vectors sealed."""
    expected, sealed = schema_of(record), sealed_column(record)
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a table ({error}); run the stage that wrote it again") from error
    if sealed is not None and found.equals(sealed_schema(expected, sealed)) and sealed_in(found) == sealed:
        return found
    if not found.equals(expected):
        raise DataError(f"{path}: schema is\n{found}\nexpected\n{expected}\nRun the stage that wrote it again.")
    return found


def _row_batches(path: Path, ring: KeyRing | None) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(path, page_checksum_verification=True) as table:
        batches = table.iter_batches(batch_size=ROW_GROUP_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
            if batch is None:
                return
            yield open_column(pa.Table.from_batches([batch]), ring).to_pylist()


def column_matrix(table: pa.Table, column: str) -> FloatMatrix:
    """A list column of equal lengths as float32 (rows, length), without a Python object per value.

    Raises DataError when the lists differ in length, and for vectors without a direction (see `vectors`).
    """
    values = table.column(column).combine_chunks()
    flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    if len(values) and (values.null_count or len(pc.unique(pc.list_value_length(values))) > 1):
        raise DataError(f"column {column}: lists of different lengths; run the stage that wrote it again")
    matrix = flat.reshape(len(values), -1 if len(values) else 0)
    if column == VECTORS:
        check_vectors(matrix, f"column {column}")
    return matrix

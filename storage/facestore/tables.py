"""Parquet tables with declared schemas: written in streams, read as records or as Arrow columns."""

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
from facestore.records import Record, schema_of

FloatMatrix = npt.NDArray[np.float32]

ROW_GROUP_ROWS = 4_096  # records that wait in memory; a face embedding takes 4 kB as Python floats


class TableWriter(Generic[Record]):
    """Streams records of one type into one Parquet file. Same records in the same order give the same bytes."""

    def __init__(self, path: Path, record: type[Record]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names = tuple(field.name for field in fields(record))
        self._schema = schema_of(record)
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
        columns = [
            pa.array([getattr(record, name) for record in self._waiting], type=self._schema.field(name).type)
            for name in self._names
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), ROW_GROUP_ROWS)
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._waiting or self.rows == 0):
            self._flush()
        self._writer.close()


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

    Raises DataError when a file does not have the declared schema.
    """
    schema = schema_of(record)
    parts = []
    for path in table_files(directory, name):
        _check_schema(path, record)
        try:
            chosen_columns = list(columns) if columns else None
            parts.append(
                pq.read_table(path, columns=chosen_columns, partitioning=None, page_checksum_verification=True)
            )
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
    chosen = pa.schema([schema.field(column) for column in columns]) if columns else schema
    return pa.concat_tables(parts).combine_chunks() if parts else chosen.empty_table()


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
        _check_schema(path, record)
        for rows in _row_batches(path):
            for row in rows:
                for column in lists:
                    row[column] = tuple(row[column])
                yield record(**row)


def _check_schema(path: Path, record: type[Record]) -> None:
    expected = schema_of(record)
    try:
        found = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a table ({error}); run the stage that wrote it again") from error
    if not found.equals(expected):
        raise DataError(f"{path}: schema is\n{found}\nexpected\n{expected}\nRun the stage that wrote it again.")


def _row_batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    with pq.ParquetFile(path, page_checksum_verification=True) as table:
        batches = table.iter_batches(batch_size=ROW_GROUP_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
            if batch is None:
                return
            yield batch.to_pylist()


def column_matrix(table: pa.Table, column: str) -> FloatMatrix:
    """A list column of equal lengths as float32 (rows, length), without a Python object per value.

    Raises DataError when the lists differ in length.
    """
    values = table.column(column).combine_chunks()
    flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    if len(values) and (values.null_count or len(pc.unique(pc.list_value_length(values))) > 1):
        raise DataError(f"column {column}: lists of different lengths; run the stage that wrote it again")
    return flat.reshape(len(values), -1 if len(values) else 0)

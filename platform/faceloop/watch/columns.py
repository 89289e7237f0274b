"""Columns of a published table in pieces, so that a million faces take no more memory than a few thousand."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facestore.errors import DataError
from facestore.keys import keyring_near
from facestore.sealedcolumns import columns_to_read, open_column, sealed_in
from facestore.tables import table_files

_ROWS_AT_ONCE = 16_384


def pieces(directory: Path, name: str, *columns: str) -> Iterator[pa.RecordBatch]:
    """In stored order, batch file by batch file. Raises DataError where a file cannot be read or lacks a column."""
    for path in table_files(directory, name):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as table:
                if missing := sorted(set(columns) - set(table.schema_arrow.names)):
                    raise DataError(f"{path} lacks {', '.join(missing)}; run the stage that wrote it again")
                schema = table.schema_arrow
                ring = keyring_near(path) if sealed_in(schema) is not None else None
                for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns_to_read(schema, columns)):
                    yield from open_column(pa.Table.from_batches([batch]), ring, columns).to_batches()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error


def rows_of(directory: Path, name: str) -> int:
    """Rows of a table, from the files' footers."""
    rows = 0
    for path in table_files(directory, name):
        try:
            rows += pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read ({error}); run the stage that wrote it again") from error
    return rows

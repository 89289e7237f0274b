"""Tables: every record type goes to Parquet and back, equal records give equal bytes, wrong files are refused."""

import dataclasses
import types
import typing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore import records
from facestore.errors import DataError
from facestore.records import Cluster, Face, Reading, Rejection, schema_of
from facestore.tables import TableWriter, column_matrix, read_columns, read_table, write_table

RECORD_TYPES = [
    kind for kind in vars(records).values() if dataclasses.is_dataclass(kind) and isinstance(kind, type)
]  # fmt: skip
FLOATS = st.floats(width=32, allow_nan=False)
UNIT = st.sampled_from([(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.6000000238418579, 0.800000011920929)])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
TIMES = st.integers(0, 4 * 10**15).map(lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us))


def _strategy(name: str, hint: object) -> st.SearchStrategy[object]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.one_of([st.none() if arm is type(None) else _strategy(name, arm) for arm in typing.get_args(hint)])
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(typing.get_args(hint))
    if hint == tuple[str, ...]:
        return st.lists(TEXT, max_size=3).map(tuple)
    if name == "embedding":
        return UNIT
    if name == "contract_id":
        return st.just("one contract")  # a table of vectors holds one
    if hint == tuple[float, ...]:
        length = {"bbox": 4, "landmarks": 10}.get(name, 3)
        return st.lists(FLOATS, min_size=length, max_size=length).map(tuple)
    plain: dict[object, st.SearchStrategy[object]] = {
        str: TEXT, int: st.integers(-(2**63), 2**63 - 1), float: FLOATS, bool: st.booleans(), datetime: TIMES,
    }  # fmt: skip
    return plain[hint]


def _records(kind: type) -> st.SearchStrategy[list[typing.Any]]:
    hints = typing.get_type_hints(kind)
    return st.lists(st.builds(kind, **{name: _strategy(name, hint) for name, hint in hints.items()}), max_size=4)


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_every_record_type_comes_back_as_it_was_written(kind: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("table")

    @given(written=_records(kind))
    @settings(deadline=None, max_examples=12)
    def check(written: list[typing.Any]) -> None:
        assert write_table(folder / "t.parquet", kind, written) == len(written)
        assert list(read_table(folder, "t", kind)) == written
        assert read_columns(folder, "t", kind).num_rows == len(written)

    check()


@pytest.mark.parametrize("kind", RECORD_TYPES, ids=lambda kind: kind.__name__)
def test_an_empty_table_keeps_its_schema(kind: type, tmp_path: Path) -> None:
    write_table(tmp_path / "b000" / "t.parquet", kind, [])
    assert pq.read_schema(tmp_path / "b000" / "t.parquet").equals(schema_of(kind))
    assert list(read_table(tmp_path, "t", kind)) == []
    assert read_columns(tmp_path, "t", kind).schema.equals(schema_of(kind))
    assert read_columns(tmp_path, "no-such-table", kind).schema.equals(schema_of(kind))


def _rejection(number: int) -> Rejection:
    return Rejection(stage="detect", item=str(number), reason="too_small", detail="é\n" * (number % 3))


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / f"{name}.parquet", Rejection, (_rejection(n) for n in range(20_000)))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert list(read_table(tmp_path, "a", Rejection)) == [_rejection(n) for n in range(20_000)]


def test_batches_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    for batch in ("b002", "b000", "b001"):
        write_table(tmp_path / batch / "t.parquet", Rejection, [dataclasses.replace(_rejection(0), item=batch)])
    assert [row.item for row in read_table(tmp_path, "t", Rejection)] == ["b000", "b001", "b002"]
    assert read_columns(tmp_path, "t", Rejection, ["item"]).column_names == ["item"]


def test_a_table_of_another_record_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "t.parquet", Rejection, [_rejection(1)])
    with pytest.raises(DataError, match=r"t\.parquet.*schema"):
        read_columns(tmp_path, "t", Cluster)
    with pytest.raises(DataError, match=r"t\.parquet.*schema"):
        list(read_table(tmp_path, "t", Cluster))


@pytest.mark.parametrize("damage", ["truncated", "not parquet", "empty", "pages"])
def test_a_damaged_file_is_a_data_error(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, Rejection, [_rejection(n) for n in range(200)])
    good = path.read_bytes()
    spoiled = {
        "truncated": good[: len(good) // 2],
        "not parquet": b"path,subset\n" * 40,
        "empty": b"",
        "pages": good[:4] + bytes(byte ^ 0x5A for byte in good[4:120]) + good[120:],
    }
    path.write_bytes(spoiled[damage])
    with pytest.raises(DataError, match="run the stage that wrote it again"):
        read_columns(tmp_path, "t", Rejection)
    with pytest.raises(DataError, match="run the stage that wrote it again"):
        list(read_table(tmp_path, "t", Rejection))


def test_null_is_refused_where_the_type_does_not_allow_it() -> None:
    schema = schema_of(Face)
    assert not schema.field("face_id").nullable
    assert schema.field("crop_key").nullable
    assert schema.field("rejected").nullable
    assert schema.field("bbox").type == pa.list_(pa.float32(), 4)
    assert schema_of(Reading).field("frames_promised").nullable


def test_a_matrix_column_keeps_rows_and_values(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    table = pa.table({"v": pa.chunked_array([column.slice(0, 1), column.slice(1, 3)])})
    np.testing.assert_array_equal(column_matrix(table, "v"), vectors)
    np.testing.assert_array_equal(
        column_matrix(table.filter(pa.array([True, False, False, True])), "v"), vectors[[0, 3]]
    )
    assert column_matrix(table.slice(0, 0), "v").shape == (0, 0)


@pytest.mark.parametrize("lists", [[[1.0], [1.0, 2.0, 3.0]], [[1.0, 2.0], [1.0]], [[1.0], None]])
def test_lists_of_different_lengths_are_no_matrix(lists: list[list[float] | None]) -> None:
    with pytest.raises(DataError, match="different lengths"):
        column_matrix(pa.table({"v": pa.array(lists, pa.list_(pa.float32()))}), "v")


def test_a_failed_write_does_not_hide_its_cause(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="the detector broke"),
        TableWriter(tmp_path / "t.parquet", Rejection) as table,
    ):
        table.write(_rejection(1))
        raise RuntimeError("the detector broke")

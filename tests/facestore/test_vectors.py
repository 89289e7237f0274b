"""Bar B14, the first half: no vector without a direction passes the tables, whichever way it goes."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore import tables
from facestore.errors import ContractMismatch, DataError
from facestore.records import FaceEmbedding, TrackletTemplate, schema_of
from facestore.tables import column_matrix, read_columns, write_table
from facestore.vectors import check_vectors

DIMENSION = 8
BAD = ("nan", "infinity", "minus infinity", "zero", "tiny", "long", "overflowing")


def unit(seed: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    vector = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def spoilt(kind: str, place: int) -> list[float]:
    vector = unit(place)
    match kind:
        case "nan":
            vector[place % DIMENSION] = np.nan
        case "infinity":
            vector[place % DIMENSION] = np.inf
        case "minus infinity":
            vector[place % DIMENSION] = -np.inf
        case "zero":
            vector[:] = 0
        case "tiny":
            vector *= np.float32(1e-20)
        case "long":
            vector *= np.float32(1.05)
        case _:
            vector[:] = np.float32(3e38)
    return [float(value) for value in vector]


def _row(vector: list[float], number: int = 0) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=f"f{number}", tracklet_id="t", footage_id="m", contract_id="c", embedding=tuple(vector)
    )


CASES = st.tuples(st.sampled_from(BAD), st.integers(0, 30), st.integers(1, 30))


@given(CASES)
@settings(deadline=None, max_examples=40)
def test_no_vector_without_a_direction_is_written(case: tuple[str, int, int]) -> None:
    kind, place, count = case
    rows = [_row(unit(number).tolist(), number) for number in range(count)]
    rows.insert(place % (count + 1), _row(spoilt(kind, place), 99))
    with TemporaryDirectory() as name, pytest.raises(DataError, match=r"1 of .* vectors"):
        write_table(Path(name) / "faces.parquet", FaceEmbedding, rows)


@given(CASES)
@settings(deadline=None, max_examples=40)
def test_no_vector_without_a_direction_is_read(case: tuple[str, int, int]) -> None:
    """However it came there: written by another version, by hand, or by a fault."""
    kind, place, count = case
    rows = [unit(number).tolist() for number in range(count)]
    rows.insert(place % (count + 1), spoilt(kind, place))
    field = schema_of(FaceEmbedding).field("embedding")
    table = pa.table({"embedding": pa.array(rows, field.type)})
    with pytest.raises(DataError, match=r"1 of .* vectors"):
        column_matrix(table, "embedding")


def test_vectors_of_two_dimensions_are_not_written_into_one_table(tmp_path: Path) -> None:
    rows = [_row(unit(1).tolist()), _row([1.0, 0.0])]
    with pytest.raises(DataError, match="several dimensions"):
        write_table(tmp_path / "faces.parquet", FaceEmbedding, rows)


def test_good_vectors_pass_to_the_bit_and_none_is_fine(tmp_path: Path) -> None:
    rows = [_row(unit(number).tolist(), number) for number in range(9)]
    write_table(tmp_path / "faces.parquet", FaceEmbedding, rows)
    found = column_matrix(read_columns(tmp_path, "faces", FaceEmbedding), "embedding")
    np.testing.assert_array_equal(found, np.array([row.embedding for row in rows], np.float32))
    write_table(tmp_path / "templates.parquet", TrackletTemplate, [])
    assert column_matrix(read_columns(tmp_path, "templates", TrackletTemplate), "embedding").shape[0] == 0
    check_vectors(found.astype(np.float16).astype(np.float32), "float16")


def test_mutant_without_the_door_all_of_them_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "check_vectors", lambda vectors, where: None)
    rows = [_row(spoilt(kind, 3), number) for number, kind in enumerate(BAD)]
    write_table(tmp_path / "faces.parquet", FaceEmbedding, rows)
    found = column_matrix(read_columns(tmp_path, "faces", FaceEmbedding), "embedding")
    assert len(found) == len(BAD)
    with pytest.raises(DataError, match=f"{len(BAD)} of {len(BAD)} vectors"):
        check_vectors(found, "here")


@given(st.lists(st.sampled_from(["c1", "c2", "c3"]), min_size=1, max_size=6), st.booleans())
@settings(deadline=None, max_examples=40)
def test_vectors_of_two_contracts_are_never_read_together(contracts: list[str], is_in_batches: bool) -> None:
    """Whether they lie in one file or in files of several batches, and whether the reader asks for contracts or not."""
    rows = [replace(_row(unit(n).tolist(), n), contract_id=contract) for n, contract in enumerate(contracts)]
    with TemporaryDirectory() as name:
        parts = [rows] if not is_in_batches else [[row] for row in rows]
        for number, part in enumerate(parts):
            write_table(Path(name) / f"b{number}" / "faces.parquet", FaceEmbedding, part)
        for columns in (None, ("face_id", "embedding")):
            if len(set(contracts)) == 1:
                assert read_columns(Path(name), "faces", FaceEmbedding, columns).num_rows == len(rows)
                continue
            with pytest.raises(ContractMismatch, match=f"{len(set(contracts))} embedding contracts"):
                read_columns(Path(name), "faces", FaceEmbedding, columns)
        assert read_columns(Path(name), "faces", FaceEmbedding, ("face_id",)).num_rows == len(rows)


def test_mutant_without_the_contract_check_spaces_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "one_contract", lambda contract_ids, where: None)
    rows = [replace(_row(unit(n).tolist(), n), contract_id=f"c{n}") for n in range(2)]
    write_table(tmp_path / "faces.parquet", FaceEmbedding, rows)
    assert len(column_matrix(read_columns(tmp_path, "faces", FaceEmbedding), "embedding")) == 2


@pytest.mark.parametrize("change", ["missing", "renamed", "another type"])
def test_a_table_of_another_schema_is_not_started_from(change: str, tmp_path: Path) -> None:
    write_table(tmp_path / "faces.parquet", FaceEmbedding, [_row(unit(1).tolist())])
    table = pa.parquet.read_table(tmp_path / "faces.parquet")
    match change:
        case "missing":
            table = table.drop_columns(["contract_id"])
        case "renamed":
            table = table.rename_columns(["face", *table.column_names[1:]])
        case _:
            doubles = table["embedding"].cast(pa.list_(pa.float64()))
            table = table.set_column(table.column_names.index("embedding"), "embedding", doubles)
    pa.parquet.write_table(table, tmp_path / "faces.parquet")
    with pytest.raises(DataError, match="schema"):
        read_columns(tmp_path, "faces", FaceEmbedding)

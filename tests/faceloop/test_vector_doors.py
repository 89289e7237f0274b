"""Bar B14, the second half: whoever compares vectors refuses those without a direction and those of another space."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.clustering import index_file
from faceloop.clustering.calibration import load_calibration
from faceloop.clustering.index_file import IndexFile, write_index
from faceloop.clustering.own_vectors import nodes_of_vectors
from faceloop.export.gallery import Gallery
from facestore.errors import ContractMismatch, DataError, NotCalibrated

from .test_gallery import CONTRACT, DIM, unit, written

Vectors = npt.NDArray[np.float32]
BAD: dict[str, float] = {"nan": np.nan, "infinity": np.inf, "minus infinity": -np.inf, "zero": 0.0, "huge": 3e38}


def _looks(count: int) -> Vectors:
    return unit(*np.random.default_rng(count).standard_normal((count, DIM)).tolist())


def _spoilt(count: int, row: int, kind: str) -> Vectors:
    vectors = _looks(count)
    if kind in ("zero", "huge"):
        vectors[row % count] = BAD[kind]
    else:
        vectors[row % count, row % DIM] = BAD[kind]
    return vectors


def _into_an_index(vectors: Vectors, folder: Path) -> None:
    write_index(folder / "new.faiss", vectors)


def _to_a_gallery(vectors: Vectors, folder: Path) -> None:
    Gallery(folder / "g").search(vectors, contract_id=CONTRACT.contract_id, people=1)


DOORS: dict[str, Callable[[Vectors, Path], None]] = {"index": _into_an_index, "gallery": _to_a_gallery}


@given(st.sampled_from(sorted(DOORS)), st.sampled_from(sorted(BAD)), st.integers(1, 12), st.integers(0, 50))
@settings(deadline=None, max_examples=25)
def test_no_door_lets_a_vector_without_a_direction_through(door: str, kind: str, count: int, row: int) -> None:
    with TemporaryDirectory() as name:
        written(Path(name) / "g")
        DOORS[door](_looks(count), Path(name))
        with pytest.raises(DataError):
            DOORS[door](_spoilt(count, row, kind), Path(name))


@given(st.text("0123456789abcdef", min_size=1, max_size=64).filter(lambda text: text != CONTRACT.contract_id))
@settings(deadline=None, max_examples=15)
def test_no_query_of_another_space_is_answered(contract_id: str) -> None:
    with TemporaryDirectory() as name:
        written(Path(name) / "g")
        with pytest.raises(ContractMismatch):
            Gallery(Path(name) / "g").search(_looks(2), contract_id=contract_id, people=1)


@given(st.sampled_from(["nan", "infinity", "minus infinity", "zero"]), st.integers(2, 12), st.integers(0, 50))
@settings(deadline=None, max_examples=15)
def test_vectors_of_ones_own_without_a_direction_become_no_node(kind: str, count: int, row: int) -> None:
    found = nodes_of_vectors(_spoilt(count, row, kind), tracklets=None, subsets=None, quality=None, normalise=True)
    assert len(found.nodes.weights) == count - 1
    assert sum(found.rejected.values()) == 1


def test_a_calibration_of_another_space_is_not_used() -> None:
    def nobody() -> object:
        raise NotCalibrated("nothing to measure")

    with pytest.raises(NotCalibrated):
        load_calibration("of-no-model", file=None, measure=nobody)  # type: ignore[arg-type]


def test_mutant_an_index_without_the_door_takes_a_vector_of_no_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_file, "check_vectors", lambda vectors, where: None)
    write_index(tmp_path / "new.faiss", _spoilt(4, 2, "zero"))
    assert IndexFile(tmp_path / "new.faiss").rows == 4

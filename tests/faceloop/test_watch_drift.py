"""Drift: none against oneself, seen where faces change, bounded, the same for any order of faces."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.watch.drift import (
    QUALITY_BINS,
    compare,
    distance_quantile,
    look_at_quality,
    look_at_vectors,
    outlier_ratio,
    stability_index,
)
from facestore.errors import DataError
from facestore.measurements import Profile
from facestore.records import Face, FaceEmbedding, schema_of
from facestore.tables import write_table

from . import watch_world

shares = st.lists(st.integers(0, 1000), min_size=QUALITY_BINS, max_size=QUALITY_BINS).filter(any)


def profile(counts: list[int], mean: tuple[float, ...] = (1.0, 0.0), contract: str = "c") -> Profile:
    total = sum(counts)
    return Profile(
        profile_id="p", contract_id=contract, faces=total, quality_shares=tuple(n / max(1, total) for n in counts),
        mean=mean, distance_99=0.5,
    )  # fmt: skip


def write_vectors(folder: Path, rows: Sequence[tuple[float, ...]], batch: str = "b000") -> None:
    """Past the door that refuses what has no direction: older tables may hold such."""
    one = watch_world.vectors()[0]
    (folder / batch).mkdir(parents=True, exist_ok=True)
    table = [asdict(replace(one, embedding=row)) for row in rows]
    pq.write_table(pa.Table.from_pylist(table, schema=schema_of(FaceEmbedding)), folder / batch / "faces.parquet")


@given(shares, shares)
def test_the_stability_index_is_zero_only_against_itself_and_the_same_both_ways(a: list[int], b: list[int]) -> None:
    assert stability_index(profile(a), profile(a)) == 0
    there, back = stability_index(profile(a), profile(b)), stability_index(profile(b), profile(a))
    assert there >= 0
    assert there == pytest.approx(back)


def test_the_stability_index_is_the_textbook_one_for_many_faces() -> None:
    then, now = [50_000, 50_000, *[0] * 8], [80_000, 20_000, *[0] * 8]
    assert stability_index(profile(then), profile(now)) == pytest.approx(
        0.3 * np.log(1.6) - 0.3 * np.log(0.4), rel=1e-3
    )


def test_an_empty_bin_of_a_small_root_is_no_infinite_drift() -> None:
    few = stability_index(profile([3, *[0] * 9]), profile([0, 3, *[0] * 8]))
    many = stability_index(profile([3000, *[0] * 9]), profile([0, 3000, *[0] * 8]))
    assert 0 < few < many < 20


def test_quality_is_counted_of_accepted_faces_only(tmp_path: Path) -> None:
    write_table(tmp_path / "b000" / "faces.parquet", Face, watch_world.faces(quality=0.75))
    write_table(tmp_path / "b001" / "faces.parquet", Face, [replace(one, quality=1.0) for one in watch_world.faces()])
    found = look_at_quality(tmp_path)
    assert found.faces == 12
    assert found.shares == (0, 0, 0, 0, 0, 0, 0, 0.5, 0, 0.5)


def test_vectors_that_are_not_finite_or_not_unit_are_counted_and_do_not_spoil_the_mean(tmp_path: Path) -> None:
    write_vectors(tmp_path, [(1.0, 0.0), (float("nan"), 0.0), (0.0, 2.0)])
    write_vectors(tmp_path, [(float("inf"), 0.0)], batch="b001")
    found = look_at_vectors(tmp_path)
    assert (found.vectors, found.not_finite, found.not_unit) == (4, 2, 1)
    assert found.mean == (0.5, 1.0)
    assert look_at_vectors(tmp_path / "nothing").mean == ()


def test_vectors_of_different_lengths_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path, [(1.0, 0.0)])
    write_vectors(tmp_path, [(1.0, 0.0, 0.0)], batch="b001")
    with pytest.raises(DataError, match="run embed again"):
        look_at_vectors(tmp_path)


@given(st.integers(0, 99), st.integers(1, 400))
def test_the_quantile_of_distances_is_numpys_to_the_width_of_a_bin(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(rows, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder), [tuple(row) for row in vectors.tolist()])
        found = distance_quantile(Path(folder), (0.0, 0.0, 2.0), 0.99)
    expected = np.quantile(1.0 - vectors[:, 2].astype(np.float64), 0.99, method="inverted_cdf")
    assert found == pytest.approx(expected, abs=0.001)


def test_turned_faces_are_drift_and_outliers(tmp_path: Path) -> None:
    write_vectors(tmp_path, [(1.0, 0.0)] * 9 + [(0.0, 1.0)])
    then = replace(profile([10, *[0] * 9]), mean=(1.0, 0.0), distance_99=0.5)
    now = replace(then, profile_id="now", mean=look_at_vectors(tmp_path).mean)
    found = compare(then, now, tmp_path)
    assert found.quality_psi == 0
    assert found.embedding_distance == pytest.approx(1 - 0.9 / np.hypot(0.9, 0.1))
    assert found.outlier_ratio == 0.1
    assert outlier_ratio(tmp_path / "nothing", then) is None


def test_embeddings_of_another_recogniser_are_not_compared(tmp_path: Path) -> None:
    write_vectors(tmp_path, [(1.0, 0.0)])
    found = compare(profile([1, *[0] * 9]), profile([1, *[0] * 9], contract="other"), tmp_path)
    assert (found.quality_psi, found.embedding_distance, found.outlier_ratio) == (0, None, None)
    nobody = compare(profile([0] * 10), profile([1, *[0] * 9]), tmp_path)
    assert (nobody.quality_psi, nobody.embedding_distance) == (None, None)

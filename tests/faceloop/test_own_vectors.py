"""Vectors that people bring: what is rejected, what is refused, what becomes one node."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.own_vectors import OwnVectors, nodes_of_vectors
from facestore.errors import DataError

AXES = np.eye(4, dtype=np.float32)


def _nodes(vectors: NDArray[np.float32], **given: object) -> OwnVectors:
    columns = {"tracklets": None, "subsets": None, "quality": None, "normalise": False, **given}
    return nodes_of_vectors(vectors, **columns)  # type: ignore[arg-type]


def test_rows_without_length_or_with_nan_are_rejected_with_their_reason() -> None:
    rows = np.stack([AXES[0], np.full(4, np.nan), np.zeros(4), np.full(4, np.inf), AXES[1]]).astype(np.float32)
    found = _nodes(rows)
    assert found.rejected == {"not_finite": 2, "zero_norm": 1}
    assert found.node_of_row.tolist() == [0, -1, -1, -1, 1]
    assert np.array_equal(found.nodes.vectors, AXES[:2])


def test_vectors_of_another_length_are_refused_and_scaled_when_asked() -> None:
    with pytest.raises(DataError, match="row 1 has 3"):
        _nodes(np.stack([AXES[0], 3 * AXES[1]]))
    assert np.array_equal(_nodes(np.stack([AXES[0], 3 * AXES[1]]), normalise=True).nodes.vectors, AXES[:2])


def test_a_tracklet_becomes_one_node_with_its_weighted_mean() -> None:
    found = _nodes(AXES[[0, 1, 2]], tracklets=np.array([7, 7, -1]), quality=np.array([0.9, 0.3, 0.5], np.float32))
    assert found.node_of_row.tolist() == [0, 0, 1]
    assert found.nodes.vectors[0] == pytest.approx(np.array([3, 1, 0, 0]) / np.sqrt(10), abs=1e-6)
    assert found.nodes.weights == pytest.approx([1.2, 0.5])
    assert found.nodes.quality == pytest.approx([0.9, 0.5])


def test_a_tracklet_in_two_subsets_is_refused() -> None:
    with pytest.raises(DataError, match="two subsets"):
        _nodes(AXES[:2], tracklets=np.array([1, 1]), subsets=np.array([0, 1]))


@pytest.mark.parametrize("column", ["tracklets", "subsets", "quality"])
def test_a_column_of_another_length_is_refused(column: str) -> None:
    with pytest.raises(DataError, match=column):
        _nodes(AXES, **{column: np.zeros(3)})


@pytest.mark.parametrize("rows", [0, 1])
def test_none_and_one_are_no_special_case(rows: int) -> None:
    found = _nodes(AXES[:rows])
    assert len(found.nodes.node_ids) == len(found.node_of_row) == rows


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30))
def test_rows_share_a_node_exactly_when_they_share_a_tracklet(tracklets: list[int]) -> None:
    codes = np.array(tracklets)
    vectors = np.tile(AXES[0], (len(codes), 1))
    node = _nodes(vectors, tracklets=codes).node_of_row
    for a in range(len(codes)):
        for b in range(a):
            assert (node[a] == node[b]) == (codes[a] == codes[b] and codes[a] >= 0)
    assert sorted(set(node.tolist())) == list(range(node.max() + 1))

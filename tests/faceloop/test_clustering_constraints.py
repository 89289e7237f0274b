import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints, tie_groups, unique_pairs
from facestore.errors import DataError

IDS = tuple("abcdefgh")


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


def test_must_links_chain_into_groups_numbered_by_their_first_row() -> None:
    groups = tie_groups(Constraints(must_link=pairs((5, 1), (1, 3)), cannot_link=pairs()), IDS)
    assert groups.group_of.tolist() == [0, 1, 2, 1, 3, 1, 4, 5]
    assert groups.count == 6


def test_cannot_links_are_lifted_to_groups_once_each() -> None:
    given_pairs = Constraints(must_link=pairs((0, 1)), cannot_link=pairs((2, 1), (0, 2), (1, 2)))
    assert tie_groups(given_pairs, IDS).cannot_link.tolist() == [[0, 1]]


def test_a_chain_that_joins_a_cannot_link_pair_is_refused_and_names_the_chain() -> None:
    given_pairs = Constraints(must_link=pairs((0, 1), (1, 2)), cannot_link=pairs((4, 5), (2, 0)))
    with pytest.raises(DataError, match="c = b = a; retract"):
        tie_groups(given_pairs, IDS)


def test_many_contradictions_are_counted_not_all_listed() -> None:
    chain = pairs(*((row, row + 1) for row in range(7)))
    with pytest.raises(DataError, match="and 2 more"):
        tie_groups(Constraints(must_link=chain, cannot_link=chain), IDS)


def test_a_face_different_from_itself_is_a_contradiction() -> None:
    with pytest.raises(DataError, match="apart: b; retract"):
        tie_groups(Constraints(must_link=pairs(), cannot_link=pairs((1, 1))), IDS)


@pytest.mark.parametrize("row", [-1, 8])
def test_a_row_outside_the_nodes_is_refused(row: int) -> None:
    with pytest.raises(DataError, match=r"outside 0\.\.7"):
        tie_groups(Constraints(must_link=pairs((0, row)), cannot_link=pairs()), IDS)


def test_left_out_nodes_take_their_cannot_links_with_them() -> None:
    groups = tie_groups(Constraints(must_link=pairs(), cannot_link=pairs((0, 2), (2, 3))), IDS)
    kept = groups.among(np.array([False, True, True, True, False, False, False, False]))
    assert kept.group_of.tolist() == [0, 1, 2]
    assert kept.cannot_link.tolist() == [[1, 2]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_unique_pairs_are_the_sorted_set_of_undirected_pairs(rows: list[tuple[int, int]]) -> None:
    assert unique_pairs(pairs(*rows)).tolist() == [list(p) for p in sorted({tuple(sorted(r)) for r in rows})]

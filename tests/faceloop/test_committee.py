"""The committee: each recogniser votes on a label by its own similarities and its own calibration."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.clustering.calibration import builtin_calibration
from faceloop.clustering.knn import SearchParams
from faceloop.identity.committee import Agreement, Opinion, agreement
from facestore.errors import ConfigError, DataError

SEARCH = SearchParams(flat_rows_max=1000, probes=4, block_rows=64)
CALIBRATIONS = {
    name: replace(builtin_calibration(), contract_id=name, impostor_mean=0.0, impostor_sd=0.1)
    for name in ("one", "two")
}
NAMES = tuple("abcdef")
LABELS = np.array([0, 0, 0, 1, 1, -1], np.int64)


def _opinion(name: str, axes: list[int], names: tuple[str, ...] = NAMES) -> Opinion:
    """A recogniser that sees each tracklet exactly on an axis."""
    return Opinion(contract_id=name, tracklet_ids=names, vectors=np.eye(8, dtype=np.float32)[axes])


def _ask(*opinions: Opinion, labels: npt.NDArray[np.int64] = LABELS) -> Agreement:
    return agreement(NAMES, labels, opinions, CALIBRATIONS, same_sigmas=3.6, search=SEARCH)


def test_recognisers_that_see_the_same_people_all_agree() -> None:
    found = _ask(_opinion("one", [0, 0, 0, 1, 1, 2]), _opinion("two", [5, 5, 5, 3, 3, 1]))
    assert found.votes.tolist() == [2, 2, 2, 2, 2, 0]
    assert found.members.tolist() == [2, 2, 2, 2, 2, 0]
    assert [found.words(row) for row in range(6)] == [None] * 6


def test_a_tracklet_that_one_recogniser_sees_elsewhere_is_told() -> None:
    found = _ask(_opinion("one", [0, 0, 0, 1, 1, 2]), _opinion("two", [0, 0, 1, 1, 1, 2]))
    assert found.votes[2] == 1
    assert found.words(2) == "differs in 1 of 2 models"
    assert found.words(3) is None  # one stranger in the other cluster is not nearer than its own company


def test_likeness_below_the_members_own_threshold_is_no_vote() -> None:
    angle = np.array([0.3, np.sqrt(1 - 0.09)], np.float32)  # cosine 0.3, or three sigmas
    pair = Opinion(contract_id="one", tracklet_ids=("d", "e"), vectors=np.stack([np.array([1, 0], np.float32), angle]))
    assert _ask(pair).votes[3:5].tolist() == [0, 0]
    strict = replace(CALIBRATIONS["one"], impostor_sd=0.05)
    easy = agreement(NAMES, LABELS, [pair], {"one": strict}, same_sigmas=3.6, search=SEARCH)
    assert easy.votes[3:5].tolist() == [1, 1]


def test_nobody_judges_what_was_not_seen_not_clustered_or_has_no_company() -> None:
    partial = _opinion("one", [0, 0, 1], ("a", "b", "d"))
    found = _ask(partial)
    assert found.members.tolist() == [1, 1, 0, 0, 0, 0]
    assert _ask().members.tolist() == [0] * 6
    assert found.words(3) is None


def test_a_member_without_calibration_is_refused() -> None:
    with pytest.raises(ConfigError, match="three"):
        _ask(_opinion("three", [0, 0, 0, 1, 1, 2]))
    with pytest.raises(DataError, match="6 tracklets with 2 labels"):
        _ask(labels=LABELS[:2])


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_votes_do_not_depend_on_the_order_of_the_templates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(6, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = rng.permutation(6)
    straight = _ask(Opinion(contract_id="one", tracklet_ids=NAMES, vectors=vectors))
    mixed = _ask(Opinion(contract_id="one", tracklet_ids=tuple(NAMES[row] for row in order), vectors=vectors[order]))
    assert straight.votes.tolist() == mixed.votes.tolist()
    assert (straight.votes <= straight.members).all()

"""Best shots: the best first, then those that add most; the same whatever else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.vision.bestshot import best_shots

ROWS = st.lists(
    st.tuples(st.floats(0, 1), st.floats(-90, 90), st.floats(-60, 60), st.floats(0, 100)), min_size=1, max_size=15
)


@given(rows=ROWS, count=st.integers(1, 20))
@settings(deadline=None, max_examples=80)
def test_the_choice_has_distinct_rows_and_starts_with_the_best(rows: list[tuple[float, ...]], count: int) -> None:
    quality, yaw, pitch, time_s = np.array(rows, dtype=np.float64).T
    chosen = best_shots(quality, yaw, pitch, time_s, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(rows))
    assert quality[chosen[0]] == quality.max()
    assert best_shots(quality, yaw, pitch, time_s, count) == chosen
    assert best_shots(quality, yaw, pitch, time_s, max(count - 1, 1)) == chosen[: max(count - 1, 1)]


def test_another_pose_is_worth_more_than_the_same_again() -> None:
    quality, yaw = np.array([0.9, 0.89, 0.6]), np.array([0.0, 1.0, 40.0])
    assert best_shots(quality, yaw, np.zeros(3), np.array([0.0, 0.2, 0.4]), 2) == [0, 2]


def test_a_bad_face_is_not_chosen_for_its_pose_alone() -> None:
    quality, yaw = np.array([0.9, 0.8, 0.01]), np.array([0.0, 30.0, 80.0])
    assert best_shots(quality, yaw, np.zeros(3), np.zeros(3), 2) == [0, 1]


def test_no_shots_are_not_asked_for() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        best_shots(np.zeros(3), np.zeros(3), np.zeros(3), np.zeros(3), 0)

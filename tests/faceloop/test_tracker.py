"""The tracker: numbers are given once, scenes keep apart, and a walking face keeps its number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.boxes import pairwise_iou
from faceloop.vision.tracker import Tracker, TrackerParams

PARAMS = TrackerParams(max_gap_s=0.7, min_overlap=0.25, buffer=0.4)
CORNERS = st.tuples(st.floats(-50, 500, width=32), st.floats(-50, 500, width=32))
SIDES = st.tuples(st.floats(1, 200, width=32), st.floats(1, 200, width=32))
BOXES = st.lists(
    st.tuples(CORNERS, SIDES).map(lambda b: (b[0][0], b[0][1], b[0][0] + b[1][0], b[0][1] + b[1][1])), max_size=6
)
LOOKS = st.lists(st.tuples(st.integers(1, 900), BOXES, st.booleans()), max_size=12)


def _array(boxes: list[tuple[float, ...]]) -> NDArray[np.float32]:
    return np.array(boxes, dtype=np.float32).reshape(-1, 4)


@given(looks=LOOKS)
@settings(deadline=None, max_examples=80)
def test_numbers_are_unique_in_a_picture_dense_and_never_used_again(
    looks: list[tuple[int, list[tuple[float, ...]], bool]],
) -> None:
    tracker = Tracker(PARAMS)
    now_ms, scene, given_out = 0, 0, 0
    scene_of: dict[int, int] = {}
    seen_ms: dict[int, int] = {}
    for gap_ms, boxes, is_cut in looks:
        now_ms += gap_ms
        if is_cut:
            tracker.cut()
            scene += 1
        numbers = tracker.update(now_ms, _array(boxes))
        assert len(numbers) == len(boxes)
        assert len(set(numbers)) == len(numbers)
        for number in numbers:
            assert scene_of.setdefault(number, scene) == scene  # a tracklet never crosses a cut
            assert now_ms - seen_ms.get(number, now_ms) <= 1000 * PARAMS.max_gap_s
            seen_ms[number] = now_ms
        given_out = max([given_out, *(number + 1 for number in numbers)])
        assert set(scene_of) == set(range(given_out))
        assert set(numbers) <= tracker.live
        assert len(tracker.live) <= given_out


@given(looks=LOOKS)
@settings(deadline=None, max_examples=30)
def test_the_same_looks_give_the_same_numbers(looks: list[tuple[int, list[tuple[float, ...]], bool]]) -> None:
    first, second = Tracker(PARAMS), Tracker(PARAMS)
    now_ms = 0
    for gap_ms, boxes, _ in looks:
        now_ms += gap_ms
        assert first.update(now_ms, _array(boxes)) == second.update(now_ms, _array(boxes))


@pytest.mark.parametrize("speed_px", [0, 10, 40])
def test_a_face_that_walks_keeps_its_number(speed_px: int) -> None:
    tracker = Tracker(PARAMS)
    numbers = {
        tracker.update(200 * look, _array([(speed_px * look, 50, speed_px * look + 60, 120)]))[0] for look in range(12)
    }
    assert numbers == {0}


def test_two_faces_side_by_side_keep_theirs_in_any_order() -> None:
    tracker = Tracker(PARAMS)
    left, right = (0, 0, 50, 50), (200, 0, 250, 50)
    assert tracker.update(0, _array([left, right])) == [0, 1]
    assert tracker.update(200, _array([right, left])) == [1, 0]


def test_a_match_that_could_be_either_of_two_is_not_made() -> None:
    tracker = Tracker(PARAMS)
    tracker.update(0, _array([(0, 0, 50, 50), (30, 0, 80, 50)]))
    (number,) = tracker.update(200, _array([(15, 0, 65, 50)]))
    assert number == 2


def test_a_face_that_came_back_late_is_another_tracklet() -> None:
    tracker = Tracker(PARAMS)
    box = _array([(0, 0, 50, 50)])
    assert tracker.update(0, box) == [0]
    assert tracker.update(700, box) == [0]
    assert tracker.update(1401, box) == [1]


def test_a_picture_that_stood_still_is_no_absence() -> None:
    tracker = Tracker(PARAMS)
    box = _array([(0, 0, 50, 50)])
    tracker.update(0, box)
    tracker.hold(2000)
    assert tracker.update(2200, box) == [0]


def test_a_face_does_not_double_its_size_between_two_looks() -> None:
    tracker = Tracker(PARAMS)
    tracker.update(0, _array([(0, 0, 50, 50)]))
    assert tracker.update(200, _array([(0, 0, 100, 100)])) == [1]


@given(first=BOXES, second=BOXES)
@settings(deadline=None, max_examples=40)
def test_overlap_is_symmetric_and_bounded(first: list[tuple[float, ...]], second: list[tuple[float, ...]]) -> None:
    overlap = pairwise_iou(_array(first), _array(second))
    assert overlap.shape == (len(first), len(second))
    assert np.all((overlap >= 0) & (overlap <= 1 + 1e-9))
    np.testing.assert_allclose(overlap, pairwise_iou(_array(second), _array(first)).T)
    np.testing.assert_allclose(np.diag(pairwise_iou(_array(first), _array(first))), 1.0, rtol=1e-4)

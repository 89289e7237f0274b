"""Sampling: never more looks than asked for, none at what stands still, and cuts where the scene changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.footage.sampling import (
    FrameSelector,
    SamplingParams,
    Thumbnail,
    correlation,
    histogram_distance,
    largest_change,
    scene_distance,
)

PARAMS = SamplingParams(sample_fps=5.0, cut_threshold=0.45, duplicate_threshold=0.02, max_still_s=2.0)
THUMBNAILS = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(0, 256, (36, 64, 3), dtype=np.uint8)
)


def _flat(level: int) -> Thumbnail:
    return np.full((36, 64, 3), level, dtype=np.uint8)


def _scene(seed: int) -> Thumbnail:
    """Large patches of colour: a picture with a layout."""
    patches = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.repeat(np.repeat(patches, 9, axis=0), 16, axis=1)


@given(gaps_ms=st.lists(st.integers(1, 700), min_size=2, max_size=80), fps=st.floats(0.5, 60))
@settings(deadline=None, max_examples=60)
def test_looks_keep_to_the_target_rate(gaps_ms: list[int], fps: float) -> None:
    selector = FrameSelector(SamplingParams(sample_fps=fps, cut_threshold=1, duplicate_threshold=0, max_still_s=0))
    times = np.cumsum(gaps_ms).tolist()
    looks = [time for time in times if selector.is_due(time)]
    assert looks[0] == times[0]
    assert len(looks) <= 1 + (times[-1] - times[0]) * fps / 1000 + 1
    waits = np.diff([*looks, times[-1]])
    assert np.all(waits <= 2 * 1000 / fps + max(gaps_ms))  # and no stretch of footage goes without


def test_a_rate_that_divides_the_frames_is_met_exactly() -> None:
    selector = FrameSelector(PARAMS)
    assert [t for t in range(0, 2000, 40) if selector.is_due(t)] == list(range(0, 2000, 200))


def test_the_first_picture_is_kept_and_is_no_cut() -> None:
    choice = FrameSelector(PARAMS).choose(0, _scene(1))
    assert choice.is_kept
    assert not choice.is_cut


def test_a_new_scene_is_a_cut_and_a_light_change_is_not() -> None:
    selector = FrameSelector(PARAMS)
    selector.choose(0, _scene(1))
    darker = (_scene(1) * 0.8).astype(np.uint8)
    assert not selector.choose(200, darker).is_cut
    assert selector.choose(400, _scene(2)).is_cut


def test_a_still_picture_is_looked_at_again_after_its_time() -> None:
    selector = FrameSelector(PARAMS)
    kept = [t for t in range(0, 5000, 200) if selector.choose(t, _scene(3)).is_kept]
    assert kept == [0, 2000, 4000]


def test_a_slow_change_is_seen_once_it_has_added_up() -> None:
    selector = FrameSelector(PARAMS)
    kept = [level for level in range(60) if selector.choose(level, _flat(100 + level)).is_kept]
    assert 5 < len(kept) < 20


def test_a_small_thing_that_moves_is_a_change() -> None:
    moved = _flat(100)
    moved[5, 5] = 200
    assert largest_change(_flat(100), moved) > PARAMS.duplicate_threshold
    assert largest_change(moved, moved) == 0


@given(first=THUMBNAILS, second=THUMBNAILS)
@settings(deadline=None, max_examples=25)
def test_distances_are_symmetric_bounded_and_zero_for_equals(first: Thumbnail, second: Thumbnail) -> None:
    for distance in (scene_distance, histogram_distance, largest_change):
        assert 0 <= distance(first, second) <= 1
        assert distance(first, second) == pytest.approx(distance(second, first))
        assert distance(first, first) == pytest.approx(0, abs=1e-9)
    assert -1 <= correlation(first, second) <= 1

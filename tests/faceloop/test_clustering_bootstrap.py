from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.bootstrap import Interval, bootstrap_scores, resampled_scores
from faceloop.clustering.metrics import contingency, score_partition
from facestore.errors import DataError

Int64Array = NDArray[np.int64]


def spoiled_world(people: int, seed: int) -> tuple[Int64Array, Int64Array]:
    """Predicted and true labels: some people are split, and now and then a face sits with the next person."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(people), rng.integers(2, 9, people))
    predicted = 2 * truth
    predicted += (rng.random(people) < 0.3)[truth] & (rng.random(len(truth)) < 0.5)
    strays = rng.random(len(truth)) < 0.05
    predicted[strays] = 2 * ((truth[strays] + 1) % people)
    return predicted, truth


def test_a_perfect_partition_has_no_interval() -> None:
    truth = np.repeat(np.arange(5), 3)
    intervals = astuple(bootstrap_scores(truth, truth, resamples=50, seed=0))
    assert intervals == ((1.0, 1.0),) * 6


def test_each_score_lies_inside_its_interval_which_narrows_with_more_people() -> None:
    widths = []
    for people in (100, 1600):
        predicted, truth = spoiled_world(people, seed=3)
        scores = score_partition(predicted, truth)
        intervals = bootstrap_scores(predicted, truth, resamples=400, seed=1)
        for name in intervals.__slots__:
            interval: Interval = getattr(intervals, name)
            assert interval.low < getattr(scores, name) < interval.high, name
        widths.append(intervals.pairwise_f.high - intervals.pairwise_f.low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.4)


def test_resamples_scatter_around_the_scores_and_not_beside_them() -> None:
    predicted, truth = spoiled_world(400, seed=5)
    scores = score_partition(predicted, truth)
    expected = [
        scores.pairwise_precision,
        scores.pairwise_recall,
        scores.pairwise_f,
        scores.bcubed_precision,
        scores.bcubed_recall,
        scores.bcubed_f,
    ]
    drawn = resampled_scores(contingency(predicted, truth), resamples=2000, seed=2)
    off = np.abs(drawn.mean(axis=0) - expected) / drawn.std(axis=0)
    assert off.max() < 0.1


def test_the_interval_holds_the_score_of_the_whole_population_as_often_as_it_says() -> None:
    predicted, truth = spoiled_world(20_000, seed=11)
    population = score_partition(predicted, truth)
    rng = np.random.default_rng(7)
    held = np.zeros(3)
    worlds = 200
    for world in range(worlds):
        block = rng.integers(0, 20_000 - 150)  # neighbours stay together: they share clusters
        rows = (truth >= block) & (truth < block + 150)
        intervals = bootstrap_scores(predicted[rows], truth[rows], resamples=200, seed=world)
        held += [
            intervals.pairwise_f.low <= population.pairwise_f <= intervals.pairwise_f.high,
            intervals.bcubed_precision.low <= population.bcubed_precision <= intervals.bcubed_precision.high,
            intervals.bcubed_f.low <= population.bcubed_f <= intervals.bcubed_f.high,
        ]
    assert (held / worlds >= 0.9).all(), held / worlds


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 4)), min_size=1, max_size=14), st.integers(0, 9))
def test_intervals_are_ordered_lie_in_the_unit_range_and_know_no_names(rows: list[tuple[int, int]], seed: int) -> None:
    predicted = np.array([label for label, _ in rows], np.int64)
    truth = np.array([person for _, person in rows], np.int64)
    intervals = bootstrap_scores(predicted, truth, resamples=20, seed=seed)
    for low, high in astuple(intervals):
        assert 0 <= low <= high <= 1
    renamed = np.where(predicted >= 0, 10 * predicted + 7, -1)
    assert bootstrap_scores(renamed, truth, resamples=20, seed=seed) == intervals


def test_no_resamples_and_impossible_levels_are_refused() -> None:
    labels = np.zeros(2, np.int64)
    with pytest.raises(DataError, match="at least 1"):
        bootstrap_scores(labels, labels, resamples=0, seed=0)
    with pytest.raises(DataError, match="level"):
        bootstrap_scores(labels, labels, resamples=5, seed=0, level=1.0)

"""Verification: counted in blocks as one by one; intervals over people; refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.evaluation import pair_scores
from faceloop.evaluation.pair_scores import STEPS, counts_at_least, score_pairs
from faceloop.evaluation.resampling import Draws, rate_interval
from faceloop.evaluation.verification import Support, Verification, refusal, threshold_step, verify
from facestore.errors import DataError

from .evaluation_world import people

SUPPORT = Support(least_false_accepts=30, least_people=3, least_genuine_pairs=30, least_identities=10)
LENIENT = Support(least_false_accepts=0, least_people=0, least_genuine_pairs=1, least_identities=1)


def _verify(
    vectors: NDArray[np.float32],
    identity: NDArray[np.int64],
    *fars: float,
    support: Support = SUPPORT,
    occasion: NDArray[np.int64] | None = None,
) -> Verification:
    looks = np.arange(len(identity)) if occasion is None else occasion
    scores = score_pairs(vectors, identity, looks, largest_far=max(fars), most_listed=100_000)
    draws = Draws.seeded(int(identity.max()) + 1, replicates=200, seed=1, confidence=0.95)
    return verify(scores, draws, fars, support).figures


def _slow(
    vectors: NDArray[np.float32], identity: NDArray[np.int64], occasion: NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """Steps of genuine and of impostor pairs, pair by pair."""
    genuine, impostor = [], []
    similarity = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    for a in range(len(vectors)):
        for b in range(a + 1, len(vectors)):
            step = int(np.floor(similarity[a, b] * STEPS + 0.5))
            if identity[a] != identity[b]:
                impostor.append(step)
            elif occasion[a] != occasion[b]:
                genuine.append(step)
    return sorted(genuine), sorted(impostor)


def _steps(counts: NDArray[np.int64]) -> list[int]:
    return [int(step) for step in np.repeat(np.arange(-STEPS, STEPS + 1), counts)]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 6), st.sampled_from([3, 1024]))
def test_pairs_counted_in_blocks_are_the_pairs_counted_one_by_one(
    seed: int, identities: int, faces: int, block: int
) -> None:
    vectors, identity = people(identities, faces, noise=0.8, dimension=8, seed=seed)
    occasion = np.random.default_rng(seed).integers(0, len(identity), len(identity))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_scores, "_BLOCK", block)
        found = score_pairs(vectors, identity, occasion, largest_far=0.5, most_listed=10_000)
    genuine, impostor = _slow(vectors, identity, occasion)
    assert np.abs(np.array(_steps(found.genuine_counts)) - genuine).max(initial=0) <= 1
    assert np.abs(np.array(_steps(found.impostor_counts)) - impostor).max(initial=0) <= 1
    assert found.genuine.steps.tolist() == _steps(found.genuine_counts)[::-1]
    assert found.impostors.steps.tolist() == _steps(found.impostor_counts)[::-1][: len(found.impostors)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=60), st.floats(1e-4, 0.9))
def test_the_threshold_is_the_lowest_that_keeps_strangers_below_the_rate(scores: list[int], far: float) -> None:
    counts = np.bincount(np.array(scores) + STEPS, minlength=2 * STEPS + 1)
    threshold = threshold_step(counts_at_least(counts), far)
    allowed = far * len(scores)
    assert sum(score >= threshold for score in scores) <= allowed
    assert sum(score >= threshold - 1 for score in scores) > allowed or threshold == -STEPS


def test_a_list_too_long_is_thinned_below_and_whole_above_and_stands_for_all() -> None:
    vectors, identity = people(60, 4, noise=0.6)
    whole = score_pairs(vectors, identity, np.arange(240), largest_far=0.4, most_listed=1_000_000)
    thinned = score_pairs(vectors, identity, np.arange(240), largest_far=0.4, most_listed=2000)
    is_whole = thinned.impostors.stands_for == 1
    assert thinned.impostors.steps[is_whole].tolist() == whole.impostors.steps[: is_whole.sum()].tolist()
    assert 800 <= is_whole.sum() <= 1000
    assert len(thinned.impostors) < 2500
    assert thinned.impostors.stands_for.sum() == pytest.approx(whole.impostors.stands_for.sum(), rel=0.1)


def test_no_figure_depends_on_the_order_of_rows() -> None:
    vectors, identity = people(20, 4, noise=0.9)
    one = _verify(vectors, identity, 0.1, 0.01)
    order = np.argsort(np.tile(np.arange(4), 20), kind="stable")
    other = _verify(vectors[order], identity[order], 0.1, 0.01)
    assert [at.tar for at in one.at] == [at.tar for at in other.at]
    assert [at.interval for at in one.at] == [at.interval for at in other.at]


def test_people_on_axes_of_their_own_are_told_apart_and_still_not_surely() -> None:
    vectors = np.repeat(np.eye(40, dtype=np.float32), 3, axis=0)
    found = _verify(vectors, np.repeat(np.arange(40), 3), 0.01)
    assert found.at[0].tar == 1.0
    assert found.eer == 0.0
    assert found.best_accuracy == 1.0
    interval = found.at[0].interval
    assert interval is not None
    assert 0.85 < interval.low < 0.95  # forty people without an error: as sure as forty trials make
    assert interval.high == pytest.approx(1.0)


def test_copies_of_every_photo_do_not_make_a_rate_surer() -> None:
    vectors, identity = people(30, 4, noise=1.2)
    once = _verify(vectors, identity, 0.01).at[0].interval
    thrice = _verify(np.repeat(vectors, 3, axis=0), np.repeat(identity, 3), 0.01).at[0].interval
    assert once is not None
    assert thrice is not None
    assert thrice.high - thrice.low > 0.7 * (once.high - once.low)  # nine times the pairs would make it a third


def test_two_looks_of_one_occasion_prove_nothing() -> None:
    vectors = np.repeat(np.eye(12, dtype=np.float32), 4, axis=0)
    identity = np.repeat(np.arange(12), 4)
    one_look_each = _verify(vectors, identity, 0.01, occasion=identity)
    assert one_look_each.genuine_pairs == 0
    assert one_look_each.at[0].tar is None
    two_looks = _verify(vectors, identity, 0.01, occasion=np.arange(48) // 2)
    assert two_looks.genuine_pairs == 12 * 4


def test_a_rate_that_too_few_pairs_can_show_is_refused_with_its_reason() -> None:
    vectors, identity = people(30, 4, noise=0.5)
    at = _verify(vectors, identity, 0.01, 0.001).at
    assert at[0].tar is not None
    assert at[1].tar is None
    assert at[1].threshold is None
    assert at[1].refused == "6,960 impostor trials: 6.96 false accepts to be expected, 30 are needed (30,000 trials)"


def test_many_photos_of_few_people_do_not_show_a_rate() -> None:
    said = refusal(0.001, trials=1_000_000, people=45, support=SUPPORT)
    assert said is not None
    assert said.startswith("45 pairs of people: 0.045 among the false accepts to be expected, 3 are needed (3,000")
    assert refusal(0.001, trials=1_000_000, people=3000, support=SUPPORT) is None


def test_three_people_get_no_rate_whatever_their_pairs() -> None:
    vectors, identity = people(3, 40, noise=0.3)
    found = _verify(vectors, identity, 0.1)
    assert found.eer is None
    assert found.at[0].refused == "2,340 genuine pairs of 3 people; at least 30 pairs of 10 people are needed"


def test_gold_of_one_person_or_of_nobody_is_refused_and_does_not_fail() -> None:
    one = _verify(np.eye(4, dtype=np.float32), np.zeros(4, np.int64), 0.1, support=LENIENT)
    assert (one.impostor_pairs, one.eer) == (0, None)
    nobody = score_pairs(np.empty((0, 4), np.float32), np.empty(0, np.int64), np.empty(0, np.int64), largest_far=0.1,
                         most_listed=10)  # fmt: skip
    draws = Draws.seeded(0, replicates=100, seed=1, confidence=0.95)
    assert verify(nobody, draws, (0.1,), SUPPORT).figures.at[0].refused is not None


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = _verify(*people(600, 4, noise=1.25, dimension=16, seed=99), 0.01).at[0].tar
    assert truth is not None
    hits = 0
    for seed in range(40):
        interval = _verify(*people(40, 4, noise=1.25, dimension=16, seed=seed), 0.01).at[0].interval
        assert interval is not None
        hits += interval.low <= truth <= interval.high
    assert hits >= 34  # of 40 at 95 %: chance alone goes below once in a thousand times


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=20), st.integers(1, 10_000), st.integers(1, 500))
def test_an_interval_holds_its_rate_and_stays_a_rate(
    share: float, replicates: list[float], trials: int, persons: int
) -> None:
    found = rate_interval(share, np.array(replicates), trials=trials, people=persons, confidence=0.95)
    assert 0 <= found.low <= share + 1e-9
    assert share - 1e-9 <= found.high <= 1


def test_vectors_that_are_not_finite_are_refused() -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors[1, 1] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        score_pairs(vectors, np.arange(3), np.arange(3), largest_far=0.1, most_listed=10)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from faceloop.clustering.partition import partition
from faceloop.identity.accept import choose_threshold, fewest_samples
from facestore.errors import DataError

from .question_world import PARTITION, two_faced_world

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def test_598_right_samples_prove_995_in_a_thousand_and_597_do_not() -> None:
    assert fewest_samples(0.995, 0.95) == 598
    few = choose_threshold(np.full(597, 0.9), np.ones(597, np.bool_), precision=0.995, confidence_level=0.95)
    assert (few.threshold, few.samples, few.errors, few.more_samples_needed) == (None, 597, 0, 1)
    enough = choose_threshold(np.full(598, 0.9), np.ones(598, np.bool_), precision=0.995, confidence_level=0.95)
    assert enough.threshold == 0.9
    assert (enough.samples, enough.errors, enough.more_samples_needed) == (598, 0, 0)
    assert enough.lower_bound == pytest.approx(0.05 ** (1 / 598))


def test_without_samples_all_are_still_needed() -> None:
    nothing = choose_threshold(np.empty(0), np.empty(0, np.bool_), precision=0.9, confidence_level=0.95)
    assert (nothing.threshold, nothing.samples, nothing.lower_bound) == (None, 0, 0.0)
    assert nothing.more_samples_needed == fewest_samples(0.9, 0.95) == 29


def test_the_threshold_lies_where_the_labels_become_wrong() -> None:
    confidence = np.linspace(0, 1, 4001).astype(np.float64)
    found = choose_threshold(confidence, confidence > 0.4, precision=0.95, confidence_level=0.95)
    assert found.threshold is not None
    # Among those above t a share of (0.4 - t) / (1 - t) is wrong: 5 % at 0.368, and a little less to be sure;
    # a step of the search there is 0.03 wide.
    assert 0.37 < found.threshold < 0.42
    assert found.errors == np.count_nonzero(confidence[confidence >= found.threshold] <= 0.4)
    assert found.samples == np.count_nonzero(confidence >= found.threshold)


def _uniform(rng: np.random.Generator, n: int) -> Float64Array:
    return rng.random(n)


def _tied(rng: np.random.Generator, n: int) -> Float64Array:
    return np.round(rng.random(n), 1)


def _equal(rng: np.random.Generator, n: int) -> Float64Array:
    return np.ones(n)


def at_the_limit(confidence: Float64Array) -> Float64Array:
    """A hair more wrong ones than allowed, whatever the confidence: each acceptance is an error."""
    return np.full(len(confidence), 0.0501)


def falling(confidence: Float64Array) -> Float64Array:
    return 0.3 * (1 - confidence)


def sudden(confidence: Float64Array) -> Float64Array:
    return np.where(confidence > 0.45, 0.03, 0.25)


def useless(confidence: Float64Array) -> Float64Array:
    """Against the presumption: confidence and truth go up and down."""
    return np.where((confidence * 20).astype(int) % 2, 0.07, 0.032)


@pytest.mark.parametrize("draw", [_uniform, _tied, _equal])
@pytest.mark.parametrize("error_rate", [at_the_limit, falling, sudden, useless])
def test_the_claim_fails_no_more_often_than_it_says(draw, error_rate) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(8)
    population = draw(rng, 200_000)
    rates = error_rate(population)
    resamples, broken = 400, 0
    for _ in range(resamples):
        rows = rng.integers(0, len(population), 400)
        is_right = rng.random(400) >= rates[rows]
        found = choose_threshold(population[rows], is_right, precision=0.95, confidence_level=0.9)
        if found.threshold is not None:
            broken += bool(rates[population >= found.threshold].mean() > 0.05)
    assert broken <= binom.ppf(0.999, resamples, 0.1)


def test_labels_of_clusters_keep_the_claimed_precision_in_200_resamples() -> None:
    world = two_faced_world(people=150, two_faced=30, faces=5, seed=4)
    rng = np.random.default_rng(5)
    # Some nodes are between two people: clustering errs there, and says so by its confidence.
    vectors = world.nodes.vectors.copy()
    mixed = rng.choice(len(vectors), 60, replace=False)
    share = rng.uniform(0.45, 0.55, len(mixed))[:, None]
    vectors[mixed] = share * vectors[rng.permutation(len(vectors))[: len(mixed)]] + (1 - share) * vectors[mixed]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nodes = type(world.nodes)(
        node_ids=world.nodes.node_ids,
        vectors=vectors,
        weights=world.nodes.weights,
        quality=world.nodes.quality,
        subset=world.nodes.subset,
    )
    found = partition(nodes=nodes, constraints=world.known, params=PARTITION)
    majority = {
        label: np.bincount(world.truth[found.labels == label]).argmax() for label in np.unique(found.labels).tolist()
    }
    is_right = np.array([majority[label] for label in found.labels.tolist()]) == world.truth
    confidence = found.confidence.astype(np.float64)
    assert 0.9 < is_right.mean() < 0.99
    kept, accepted = 0, 0
    for _ in range(200):
        rows = rng.integers(0, len(is_right), 1200)
        chosen = choose_threshold(confidence[rows], is_right[rows], precision=0.995, confidence_level=0.95)
        accepted += chosen.threshold is not None
        kept += chosen.threshold is None or bool(is_right[confidence >= chosen.threshold].mean() >= 0.995)
    assert kept >= 190
    assert accepted > 20


samples = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=60)
@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter_and_what_is_needed_is_enough(rows, shuffler) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    results = [
        choose_threshold(
            np.array([confidence / 8 for confidence, _ in order]),
            np.array([answer for _, answer in order], np.bool_),
            precision=0.8,
            confidence_level=0.9,
        )
        for order in (rows, shuffled)
    ]
    assert results[0] == results[1]
    found = results[0]
    if found.threshold is not None:
        assert found.lower_bound >= 0.8
        assert found.more_samples_needed == 0
        return
    for more, is_enough in ((found.more_samples_needed, True), (found.more_samples_needed - 1, False)):
        again = choose_threshold(
            np.array([confidence / 8 for confidence, _ in rows] + [1.0] * more),
            np.array([answer for _, answer in rows] + [True] * more, np.bool_),
            precision=0.8,
            confidence_level=0.9,
        )
        assert (again.threshold is not None) == is_enough


def test_malformed_samples_and_rates_are_refused() -> None:
    one = np.ones(1)
    with pytest.raises(DataError, match="one finite confidence"):
        choose_threshold(one, np.ones(2, np.bool_), precision=0.9, confidence_level=0.95)
    with pytest.raises(DataError, match="one finite confidence"):
        choose_threshold(np.array([np.nan]), np.ones(1, np.bool_), precision=0.9, confidence_level=0.95)
    with pytest.raises(DataError, match="inside"):
        choose_threshold(one, np.ones(1, np.bool_), precision=1.0, confidence_level=0.95)

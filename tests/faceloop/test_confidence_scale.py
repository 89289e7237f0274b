import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.identity.confidence_scale import calibration_error, fit_scale
from facestore.errors import DataError


@pytest.mark.parametrize(("samples", "method", "noise"), [(400, "platt", 0.09), (4000, "isotonic", 0.04)])
def test_a_confidence_that_boasts_is_brought_back_to_what_came_true(samples: int, method: str, noise: float) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 1, samples)
    is_right = rng.random(samples) < 0.5 + 0.6 * (confidence - 0.5)  # says 1.0 where 0.8 come true
    scale = fit_scale(confidence, is_right, min_samples=100)
    assert scale.method == method
    assert (scale.samples, scale.errors) == (samples, np.count_nonzero(~is_right))
    assert scale.ece < noise
    assert scale.ece_before > scale.ece + 0.05
    assert scale.probability(np.array([0.9]))[0] == pytest.approx(0.74, abs=0.08)


@pytest.mark.parametrize(
    ("samples", "errors"), [(99, 30), (400, 4), (400, 397)], ids=["too few", "few wrong", "few right"]
)
def test_too_few_samples_of_a_kind_leave_the_confidence_as_it_is(samples: int, errors: int) -> None:
    confidence = np.linspace(0, 1, samples).astype(np.float64)
    scale = fit_scale(confidence, np.arange(samples) >= errors, min_samples=100)
    assert scale.method == "raw"
    assert scale.probability(confidence) == pytest.approx(confidence)
    assert scale.ece == scale.ece_before


def test_no_samples_are_no_error() -> None:
    scale = fit_scale(np.empty(0), np.empty(0, np.bool_), min_samples=0)
    assert (scale.method, scale.samples, scale.ece) == ("raw", 0, 0.0)


def test_confidence_that_runs_against_the_truth_gives_a_flat_map() -> None:
    confidence = np.linspace(0, 1, 200).astype(np.float64)
    scale = fit_scale(confidence, confidence < 0.5, min_samples=100)
    assert scale.probability(np.array([0.0, 1.0])) == pytest.approx([0.5, 0.5])


def test_calibration_error_is_the_mean_gap_between_said_and_true() -> None:
    said = np.array([0.8] * 10 + [0.4] * 10)
    true = np.array([True] * 6 + [False] * 4 + [True] * 4 + [False] * 6)
    # Bins of two: their gaps cannot be smaller than those of the two levels, which are 0.2 and 0.
    assert calibration_error(said, true) >= (0.2 * 10 + 0.0 * 10) / 20
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0.0


answered = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@settings(max_examples=40)
@given(answered, st.randoms(use_true_random=False))
def test_the_map_never_falls_stays_in_range_and_knows_no_order(rows, shuffler) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    scales = [
        fit_scale(np.array([c for c, _ in order]), np.array([r for _, r in order], np.bool_), min_samples=10)
        for order in (rows, shuffled)
    ]
    assert scales[0] == scales[1]
    values = scales[0].probability(np.linspace(0, 1, 101).astype(np.float64))
    assert (np.diff(values) >= -1e-12).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_malformed_samples_are_refused() -> None:
    with pytest.raises(DataError, match="one answer a confidence"):
        fit_scale(np.ones(2), np.ones(1, np.bool_), min_samples=1)
    with pytest.raises(DataError, match="outside"):
        fit_scale(np.array([1.2]), np.ones(1, np.bool_), min_samples=1)

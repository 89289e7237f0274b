"""Which machine labels may be accepted without a person: those above a confidence, with a proven precision.

Learn then Test (Angelopoulos et al. 2021) by fixed-sequence testing: thresholds are tried from strict to
loose, each by the exact binomial test of Clopper and Pearson (1934) at the whole error level, and the
first that fails ends the search. So the one that is chosen needs no correction for having been chosen.

The steps are fixed before any answer is seen: as ranks (the confidence of the k-th surest sample, and all
that equal it), from a third of the samples, or the fewest that could prove anything, in steps of a
twentieth to all. The test of the first threshold that is too loose is then exact or errs to the safe
side, provided that labels of lower confidence are not right more often than those of higher confidence.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]
_FIRST_SHARE = 1 / 3
_STEP = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The loosest threshold that the samples support, or that they support none."""

    threshold: float | None  # accept labels with at least this confidence; None: accept nothing
    samples: int  # above the threshold; without one, all
    errors: int  # among them
    lower_bound: float  # of their precision, at the asked confidence
    more_samples_needed: int  # without a threshold: so many more, right and as sure as the surest, would give one


def choose_threshold(
    confidence: Float64Array, is_right: BoolArray, *, precision: float, confidence_level: float
) -> Acceptance:
    """The lowest confidence above which machine labels are right with at least `precision`.

    `confidence` (n,) and `is_right` (n,) are labels drawn at random, uniformly, among those that are to be
    accepted, and checked by a person; in any order. With probability `confidence_level` over the draw the
    claim holds. Both rates lie in (0, 1). Raises DataError for shapes that differ, a confidence that is not
    finite, or a rate out of range.
    """
    confidence, is_right = np.asarray(confidence, np.float64), np.asarray(is_right, np.bool_)
    if confidence.ndim != 1 or confidence.shape != is_right.shape or not np.isfinite(confidence).all():
        raise DataError(
            f"samples of shapes {confidence.shape} and {is_right.shape} cannot be tested; "
            "give one finite confidence and one answer a sample"
        )
    if not (0 < precision < 1 and 0 < confidence_level < 1):
        raise DataError(f"precision {precision} at confidence {confidence_level}: both must lie inside (0, 1)")
    found = _search(confidence, is_right, precision, 1 - confidence_level)
    if found is not None:
        return found
    samples, errors = len(confidence), int(np.count_nonzero(~is_right))
    return Acceptance(
        threshold=None,
        samples=samples,
        errors=errors,
        lower_bound=float(lower_bound(np.array([errors]), np.array([samples]), 1 - confidence_level)[0]),
        more_samples_needed=_more_needed(confidence, is_right, precision, 1 - confidence_level),
    )


def lower_bound(errors: Int64Array, samples: Int64Array, risk: float) -> Float64Array:
    """One-sided Clopper-Pearson lower limit of the share of right ones, elementwise; 0 without right samples."""
    from scipy.stats import beta  # late: scipy.stats takes a third of a second to load

    right = samples - errors
    return np.where(right > 0, beta.ppf(risk, np.maximum(right, 1), errors + 1), 0.0).astype(np.float64)


def fewest_samples(precision: float, confidence_level: float) -> int:
    """How many samples without an error prove the precision."""
    return math.ceil(math.log(1 - confidence_level) / math.log(precision) - 1e-9)


def _search(confidence: Float64Array, is_right: BoolArray, precision: float, risk: float) -> Acceptance | None:
    n = len(confidence)
    ranks = _ranks(n, fewest_samples(precision, 1 - risk))
    if len(ranks) == 0:
        return None
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    wrong = np.concatenate([[0], np.cumsum(~is_right[order])])
    thresholds = ordered[ranks - 1]
    samples = np.searchsorted(-ordered, -thresholds, side="right")
    bounds = lower_bound(wrong[samples], samples, risk)
    failed = np.flatnonzero(bounds < precision)
    passed = int(failed[0]) if len(failed) else len(ranks)
    if passed == 0:
        return None
    last = passed - 1
    return Acceptance(
        threshold=float(thresholds[last]),
        samples=int(samples[last]),
        errors=int(wrong[samples[last]]),
        lower_bound=float(bounds[last]),
        more_samples_needed=0,
    )


def _ranks(n: int, fewest: int) -> Int64Array:
    """Numbers of samples at which to test, rising, the last is n; none where n is too small."""
    if n < fewest:
        return np.empty(0, np.int64)
    first = max(fewest, math.ceil(n * _FIRST_SHARE))
    steps = math.ceil(math.log(n / first) / math.log(_STEP)) if n > first else 0
    ranks: Int64Array = np.unique(np.minimum(np.rint(first * _STEP ** np.arange(steps + 1)), n).astype(np.int64))
    return ranks


def _more_needed(confidence: Float64Array, is_right: BoolArray, precision: float, risk: float) -> int:
    surest = float(confidence.max(initial=1.0))

    def is_enough(more: int) -> bool:
        longer = np.concatenate([confidence, np.full(more, surest)])
        answers = np.concatenate([is_right, np.ones(more, np.bool_)])
        return _search(longer, answers, precision, risk) is not None

    low, high = 0, fewest_samples(precision, 1 - risk)
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high

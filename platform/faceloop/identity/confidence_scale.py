"""What a confidence means: the probability that the label is right, fitted to samples that people checked.

Few samples: a logistic curve of the confidence's log-odds (Platt 1999). Many: isotonic regression, which
follows any rising shape (Zadrozny and Elkan 2002; which of the two and when: Niculescu-Mizil and Caruana
2005). Too few, or too few wrong ones among them: the confidence itself, which only ranks.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from facestore.errors import DataError

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
ScaleMethod = Literal["raw", "platt", "isotonic"]
_FEWEST_OF_A_KIND = 5  # right ones, and wrong ones
_ISOTONIC_SAMPLES = 1000
_FOLDS = 5
_BINS = 10
_CLIP = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceScale:
    """A rising map from confidence to probability: straight lines between knots, flat beyond the last ones."""

    method: ScaleMethod
    knots: tuple[float, ...]  # confidences, rising, in [0, 1]
    values: tuple[float, ...]  # probabilities at the knots, rising, in [0, 1]
    samples: int
    errors: int
    ece_before: float  # expected calibration error of the confidence itself, in [0, 1]; 0 without samples
    ece: float  # of the fitted map, on samples that it was not fitted to

    def probability(self, confidence: Float64Array) -> Float64Array:
        """P(label is right) for confidences of any shape in [0, 1], float64."""
        return np.interp(confidence, self.knots, self.values).astype(np.float64)


def fit_scale(confidence: Float64Array, is_right: BoolArray, *, min_samples: int) -> ConfidenceScale:
    """Fit to reviewed labels drawn at random: `confidence` (n,) in [0, 1] and `is_right` (n,), in any order.

    Below `min_samples`, or with fewer than five right or five wrong ones, the map is the identity.
    Raises DataError for shapes that differ and confidences outside [0, 1].
    """
    confidence, is_right = np.asarray(confidence, np.float64), np.asarray(is_right, np.bool_)
    if confidence.ndim != 1 or confidence.shape != is_right.shape:
        raise DataError(f"samples of shapes {confidence.shape} and {is_right.shape}; give one answer a confidence")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise DataError("a sample's confidence is outside [0, 1]; give the confidence that the label carried")
    order = np.lexsort((is_right, confidence))
    confidence, is_right = confidence[order], is_right[order]
    samples, right = len(confidence), int(np.count_nonzero(is_right))
    before = calibration_error(confidence, is_right)
    method: ScaleMethod = "isotonic" if samples >= _ISOTONIC_SAMPLES else "platt"
    if samples < min_samples or min(right, samples - right) < _FEWEST_OF_A_KIND:
        method = "raw"
    knots, values = _fit(method, confidence, is_right)
    predicted = np.empty(samples)
    for fold in range(_FOLDS):
        # Every fifth sample in the order of confidence: folds are alike, and rows may come in any order.
        is_held_out = np.arange(samples) % _FOLDS == fold
        some_knots, some_values = _fit(method, confidence[~is_held_out], is_right[~is_held_out])
        predicted[is_held_out] = np.interp(confidence[is_held_out], some_knots, some_values)
    return ConfidenceScale(
        method=method,
        knots=tuple(knots.tolist()),
        values=tuple(values.tolist()),
        samples=samples,
        errors=samples - right,
        ece_before=before,
        ece=calibration_error(predicted, is_right),
    )


def calibration_error(probability: Float64Array, is_right: BoolArray) -> float:
    """Expected calibration error (Naeini et al. 2015) over ten bins of equally many samples, in [0, 1]."""
    if len(probability) == 0:
        return 0.0
    order = np.lexsort((is_right, probability))
    bin_of = np.arange(len(order)) * _BINS // len(order)
    gap = np.bincount(bin_of, probability[order] - is_right[order], minlength=_BINS)
    return float(np.abs(gap).sum() / len(order))


def _fit(method: ScaleMethod, confidence: Float64Array, is_right: BoolArray) -> tuple[Float64Array, Float64Array]:
    right = int(np.count_nonzero(is_right))
    if method == "raw" or min(right, len(is_right) - right) == 0:
        ends = np.array([0.0, 1.0])
        return ends, ends
    if method == "isotonic":
        fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(confidence, is_right)
        return np.asarray(fitted.X_thresholds_, np.float64), np.asarray(fitted.y_thresholds_, np.float64)
    odds = logit(np.clip(confidence, _CLIP, 1 - _CLIP))
    # Platt's soft targets: each sample counts for both answers, a little for the other one.
    certain = np.where(is_right, (right + 1) / (right + 2), 1 - 1 / (len(is_right) - right + 2))
    model = LogisticRegression(C=np.inf)
    model.fit(
        np.tile(odds, 2)[:, None],
        np.concatenate([is_right, ~is_right]),
        sample_weight=np.concatenate([certain, 1 - certain]),
    )
    knots = np.linspace(0, 1, 201)
    slope = max(float(model.coef_[0, 0]), 0.0)  # never falling: more confidence is not less probable
    offset = float(model.intercept_[0]) if slope > 0 else float(logit(right / len(is_right)))
    values: Float64Array = expit(slope * logit(np.clip(knots, _CLIP, 1 - _CLIP)) + offset)
    return knots.astype(np.float64), values

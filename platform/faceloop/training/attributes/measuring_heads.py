"""How good heads are on people whom no training saw, with intervals over people. No torch here.

People are drawn again, not faces: several faces of one person are one piece of evidence (cluster bootstrap).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from faceloop.training.attributes.attribute_params import AttributeIntervalParams, AttributeSupportParams
from faceloop.training.attributes.targets import Float32Array, Head

Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
_TEMPERATURES = np.geomspace(0.1, 10.0, 81)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One figure with its interval, and what saying always the same would reach."""

    value: float
    low: float
    high: float
    baseline: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadFigures:
    """A head on the test split. `figures` is empty where `refused` says why."""

    name: str
    test_faces: int
    test_people: int
    refused: str | None
    figures: dict[str, Measured]
    confusion: Int64Array | None  # (values, values): truth by prediction; None of a number, or where refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`temperature` divides logits; from `sure_probability` on the head was right often enough on val, if ever."""

    temperature: float
    sure_probability: float | None


def probabilities(logits: Float32Array, temperature: float) -> Float64Array:
    """(n, values) rows that sum to 1."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True, initial=-np.inf) if scaled.shape[1] else 0
    raised = np.exp(scaled)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def calibrate(logits: Float32Array, truth: Int64Array, *, least_faces: int, sure_accuracy: float) -> Calibration:
    """Temperature of least negative log-likelihood (Guo et al. 2017); 1 with fewer than `least_faces` rows."""
    if len(truth) < least_faces:
        return Calibration(temperature=1.0, sure_probability=None)
    rows = np.arange(len(truth))
    costs = [-np.log(np.maximum(probabilities(logits, float(one))[rows, truth], 1e-12)).mean() for one in _TEMPERATURES]
    temperature = float(_TEMPERATURES[int(np.argmin(costs))])
    found = probabilities(logits, temperature)
    surest = found.max(axis=1)
    order = np.argsort(-surest, kind="stable")
    is_right = (found.argmax(axis=1) == truth)[order]
    share = np.cumsum(is_right) / np.arange(1, len(order) + 1)
    good = [place for place in range(least_faces - 1, len(order)) if share[place] >= sure_accuracy]
    return Calibration(temperature=temperature, sure_probability=float(surest[order][good[-1]]) if good else None)


def measure_head(
    head: Head,
    output: Float32Array,
    truth: Float64Array,
    people: Sequence[str],
    train_truth: Float64Array,
    *,
    support: AttributeSupportParams,
    intervals: AttributeIntervalParams,
    seed: int,
) -> HeadFigures:
    """`output` (n, width) of the test rows that were answered, `truth` (n,) value numbers or numbers; so in train.

    Baselines: the most frequent value of train, or its mean. Refused below `support`.
    """
    names, person = np.unique(np.array(people, dtype=np.str_), return_inverse=True)
    if len(truth) < support.test_faces or len(names) < support.test_people:
        told = (
            f"{len(truth)} faces of {len(names)} people in test; "
            f"{support.test_faces} of {support.test_people} are needed"
        )
        return HeadFigures(
            name=head.name, test_faces=len(truth), test_people=len(names), refused=told, figures={}, confusion=None
        )
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=intervals.replicates)[:, person]
    ones = np.ones(len(truth))
    figures = {}
    confusion = None
    if head.kind == "number":
        error, plain = np.abs(output[:, 0] - truth), np.abs(train_truth.mean() - truth)
        figures["mean_absolute_error"] = _measured(
            lambda w: _mean(error, w), _mean(plain, ones), ones, draws, intervals
        )
    else:
        said, true, values = output.argmax(axis=1), truth.astype(np.int64), len(head.values)
        usual = np.full(len(true), np.bincount(train_truth.astype(np.int64), minlength=values).argmax())
        for name, score in (("accuracy", _accuracy), ("balanced_accuracy", _balanced), ("macro_f1", _macro_f1)):
            baseline = score(_confusion(true, usual, ones, values))
            figures[name] = _measured(partial(_scored, score, true, said, values), baseline, ones, draws, intervals)
        confusion = _confusion(true, said, ones, values).astype(np.int64)
    return HeadFigures(
        name=head.name, test_faces=len(truth), test_people=len(names), refused=None, figures=figures,
        confusion=confusion,
    )  # fmt: skip


def _scored(
    score: Callable[[Float64Array], float], truth: Int64Array, said: Int64Array, values: int, weights: Float64Array
) -> float:
    return score(_confusion(truth, said, weights, values))


def _measured(
    figure: Callable[[Float64Array], float],
    baseline: float,
    ones: Float64Array,
    draws: NDArray[np.int64],
    intervals: AttributeIntervalParams,
) -> Measured:
    drawn = np.array([figure(weights.astype(np.float64)) for weights in draws if weights.any()])
    low, high = np.quantile(drawn, [(1 - intervals.confidence) / 2, (1 + intervals.confidence) / 2])
    return Measured(value=figure(ones), low=float(low), high=float(high), baseline=baseline)


def _mean(values: Float64Array, weights: Float64Array) -> float:
    return float((values * weights).sum() / weights.sum())


def _confusion(truth: Int64Array, said: Int64Array, weights: Float64Array, values: int) -> Float64Array:
    flat = np.bincount(truth * values + said, weights=weights, minlength=values * values)
    return np.asarray(flat.reshape(values, values), np.float64)


def _accuracy(confusion: Float64Array) -> float:
    return float(np.trace(confusion) / confusion.sum())


def _balanced(confusion: Float64Array) -> float:
    """Mean recall of the values that are there."""
    true = confusion.sum(axis=1)
    return float((np.diag(confusion)[true > 0] / true[true > 0]).mean())


def _macro_f1(confusion: Float64Array) -> float:
    """Mean F1 of the values that are there, or were said."""
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float((2 * np.diag(confusion)[both > 0] / both[both > 0]).mean())

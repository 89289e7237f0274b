"""1:1: is it the same person? TAR at each FAR that the gold can support, EER, separation.

A FAR is refused, with the reason, where the gold holds too little to show it: fewer expected false accepts than
the rule of 30 asks for (Doddington et al., "The NIST speaker recognition evaluation", 2000), or fewer expected
pairs of *people* than the rule of three does (Jovanovic & Levy 1997): many photos of few people are few trials.
"""

from dataclasses import dataclass

import numpy as np

from faceloop.evaluation.gold import Int64Array
from faceloop.evaluation.pair_scores import STEPS, PairScores, counts_at_least
from faceloop.evaluation.resampling import Draws, Float64Array, Interval, drawn_tars, drawn_thresholds, rate_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What a gold set must hold before a rate is stated."""

    least_false_accepts: float  # expected at a FAR
    least_people: float  # expected pairs of people (1:1) or people (1:N) among them
    least_genuine_pairs: int
    least_identities: int  # with a genuine pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Operating:
    """TAR at one FAR. Refused: `refused` says why, and there is no number."""

    far: float
    tar: float | None
    interval: Interval | None
    threshold: float | None  # cosine from which two faces are one person
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Figures of one model on one gold set; rates in [0, 1], None where there is too little to tell."""

    identities: int
    identities_paired: int  # with a genuine pair
    genuine_pairs: int
    impostor_pairs: int
    at: tuple[Operating, ...]
    eer: float | None
    best_accuracy: float | None  # mean of true accepts and true rejects at the best threshold
    separation: float | None  # d-prime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampled:
    """A verification with what it takes to compare it: thresholds and TARs by replicate and FAR."""

    figures: Verification
    threshold_steps: tuple[int, ...]  # by FAR, refused or not
    thresholds: Int64Array  # (replicates, fars) steps
    tars: Float64Array  # (replicates, fars)


def refusal(far: float, *, trials: int, people: int, support: Support, what: str = "pairs of people") -> str | None:
    """Why a rate of false accepts cannot be shown with so many impostor `trials` of so many `people`; None: it can."""
    if far * trials < support.least_false_accepts:
        wanted = int(np.ceil(support.least_false_accepts / far))
        return (
            f"{trials:,} impostor trials: {far * trials:.3g} false accepts to be expected, "
            f"{support.least_false_accepts:g} are needed ({wanted:,} trials)"
        )
    if far * people < support.least_people:
        wanted = int(np.ceil(support.least_people / far))
        return (
            f"{people:,} {what}: {far * people:.3g} among the false accepts to be expected, "
            f"{support.least_people:g} are needed ({wanted:,} {what})"
        )
    return None


def threshold_step(impostors_at_least: Int64Array, far: float) -> int:
    """The lowest step from which at most the share `far` of impostors is accepted."""
    allowed = far * int(impostors_at_least[0])
    return int(np.searchsorted(-impostors_at_least, -allowed, side="left")) - STEPS


def verify(scores: PairScores, draws: Draws, fars: tuple[float, ...], support: Support) -> Resampled:
    """Figures at each FAR, with intervals over identities. `draws` must be over the identities of `scores`."""
    genuine, impostors = counts_at_least(scores.genuine_counts), counts_at_least(scores.impostor_counts)
    identities, paired = draws.counts.shape[1], np.unique(scores.identity[scores.genuine.first]).size
    people_pairs = identities * (identities - 1) // 2
    steps = tuple(threshold_step(impostors, far) for far in fars)
    thresholds = drawn_thresholds(scores, draws, fars)
    tars = drawn_tars(scores.genuine, scores.identity, draws, thresholds)
    too_little = _too_little(scores.genuine_pairs, paired, support)
    at = []
    for place, (far, step) in enumerate(zip(fars, steps, strict=True)):
        refused = too_little or refusal(far, trials=scores.impostor_pairs, people=people_pairs, support=support)
        tar = None if refused else float(genuine[step + STEPS] / genuine[0])
        interval = (
            None
            if tar is None
            else rate_interval(
                tar, tars[:, place], trials=scores.genuine_pairs, people=paired, confidence=draws.confidence
            )
        )
        at.append(
            Operating(far=far, tar=tar, interval=interval, threshold=None if refused else step / STEPS, refused=refused)
        )
    figures = Verification(
        identities=identities,
        identities_paired=int(paired),
        genuine_pairs=scores.genuine_pairs,
        impostor_pairs=scores.impostor_pairs,
        at=tuple(at),
        eer=None if too_little else _equal_error(genuine, impostors),
        best_accuracy=None if too_little else _best_accuracy(genuine, impostors),
        separation=None if too_little else _separation(scores.genuine_counts, scores.impostor_counts),
    )
    return Resampled(figures=figures, threshold_steps=steps, thresholds=thresholds, tars=tars)


def _too_little(pairs: int, paired: int, support: Support) -> str | None:
    if pairs < support.least_genuine_pairs or paired < support.least_identities:
        return (
            f"{pairs:,} genuine pairs of {paired:,} people; at least {support.least_genuine_pairs:,} pairs of "
            f"{support.least_identities:,} people are needed"
        )
    return None


def _equal_error(genuine: Int64Array, impostors: Int64Array) -> float | None:
    """Where false rejects cross false accepts, halfway between the two sides of the crossing."""
    if not (genuine[0] and impostors[0]):
        return None
    far, frr = impostors / impostors[0], 1 - genuine / genuine[0]
    place = int(np.argmax(frr >= far))
    best = max(place - 1, 0) if abs(frr[place - 1] - far[place - 1]) < abs(frr[place] - far[place]) else place
    return float((far[best] + frr[best]) / 2)


def _best_accuracy(genuine: Int64Array, impostors: Int64Array) -> float | None:
    if not (genuine[0] and impostors[0]):
        return None
    return float(np.max(genuine / genuine[0] + 1 - impostors / impostors[0]) / 2)


def _separation(genuine: Int64Array, impostor: Int64Array) -> float | None:
    if not (genuine.any() and impostor.any()):
        return None
    steps = np.arange(-STEPS, STEPS + 1) / STEPS
    (mean_g, var_g), (mean_i, var_i) = (_moments(steps, counts) for counts in (genuine, impostor))
    spread = float(np.sqrt((var_g + var_i) / 2))
    return (mean_g - mean_i) / spread if spread > 0 else None


def _moments(steps: Float64Array, counts: Int64Array) -> tuple[float, float]:
    mean = float(np.average(steps, weights=counts))
    return mean, float(np.average((steps - mean) ** 2, weights=counts))

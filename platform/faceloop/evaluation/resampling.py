"""How sure a rate is, when its pairs are not independent.

Pairs share people: one odd face spoils all its pairs at once. So people are drawn again, not pairs (the vertex
bootstrap of Snijders & Borgatti 1999; for face matching Fogliato, Patil & Perona, "Confidence intervals for error
rates in 1:1 matching tasks", IJCV 2024). A pair of two people counts as often as the product of their draws.
The spread goes into Wilson's interval as a number of independent trials, as those authors advise: a plain
percentile interval is empty where no error was seen.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.compiled import compiled
from faceloop.evaluation.gold import Int64Array
from faceloop.evaluation.pair_scores import PairList, PairScores

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Bounds of a rate or of a difference at a confidence level, low <= high."""

    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        return self.low > 0

    @property
    def is_below_zero(self) -> bool:
        return self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """How often each identity is drawn in each replicate: (replicates, identities) int64; rows sum to identities."""

    counts: Int64Array
    confidence: float

    @classmethod
    def seeded(cls, identities: int, *, replicates: int, seed: int, confidence: float) -> "Draws":
        """The same draws for the same numbers: two models that are compared see the same people."""
        rng = np.random.default_rng(seed)
        counts = np.zeros((replicates, identities), np.int64)
        for replicate in counts:
            np.add.at(replicate, rng.integers(identities, size=identities) if identities else [], 1)
        return cls(counts=counts, confidence=confidence)


def rate_interval(share: float, replicates: Float64Array, *, trials: int, people: int, confidence: float) -> Interval:
    """Wilson's interval (1927) of a rate over as many independent trials as its spread over replicates amounts to.

    `trials` were counted, of so many `people`; where no spread was seen (no error, or nothing but errors) a person
    is one trial. NaN in `replicates`, where nobody was drawn who counts, are left out.
    """
    seen = replicates[np.isfinite(replicates)]
    spread = float(seen.var()) if len(seen) > 1 else 0.0
    plain = share * (1 - share)
    effective = plain / spread if spread > 0 and plain > 0 else float(people)
    effective = max(1.0, min(effective, float(trials)))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z * z / (2 * effective)) / (1 + z * z / effective)
    half = z / (1 + z * z / effective) * float(np.sqrt(plain / effective + z * z / (4 * effective**2)))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half))


def difference_interval(differences: Float64Array, confidence: float) -> Interval | None:
    """Percentiles of paired differences (replicates,); None where hardly any replicate gave one."""
    seen = differences[np.isfinite(differences)]
    if len(seen) < len(differences) / 2 or len(seen) < 2:
        return None
    low, high = np.quantile(seen, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


def drawn_thresholds(scores: PairScores, draws: Draws, fars: tuple[float, ...]) -> Int64Array:
    """The threshold in steps for each FAR, found anew in each replicate: (replicates, fars)."""
    sizes = np.bincount(scores.identity, minlength=draws.counts.shape[1]).astype(np.int64)
    tail = scores.impostors
    first, second = scores.identity[tail.first], scores.identity[tail.second]
    found = np.empty((len(draws.counts), len(fars)), np.int64)
    _thresholds(tail.steps, first, second, tail.stands_for, draws.counts, sizes, np.array(fars), found)
    return found


def drawn_tars(pairs: PairList, identity: Int64Array, draws: Draws, thresholds: Int64Array) -> Float64Array:
    """TAR of genuine pairs at thresholds (replicates, f), in each replicate: (replicates, f); NaN without a pair."""
    of_pair = identity[pairs.first]
    rates = np.full(thresholds.shape, np.nan)
    for row, (counts, wanted) in enumerate(zip(draws.counts, thresholds, strict=True)):
        weights = np.cumsum(counts[of_pair] * pairs.stands_for)
        if len(weights) and weights[-1]:
            # Steps fall along the list: so many pairs stand at or above a threshold.
            accepted = np.searchsorted(-pairs.steps, -wanted, side="right")
            rates[row] = np.where(accepted > 0, weights[accepted - 1], 0) / weights[-1]
    return rates


@compiled
def _thresholds(
    steps: Int64Array,
    first: Int64Array,
    second: Int64Array,
    stands_for: Int64Array,
    draws: Int64Array,
    sizes: Int64Array,
    fars: Float64Array,
    found: Int64Array,
) -> None:
    ascending = np.argsort(fars)
    for row in range(draws.shape[0]):
        drawn = draws[row]
        whole, squares = 0, 0
        for identity in range(len(sizes)):
            faces = drawn[identity] * sizes[identity]
            whole += faces
            squares += faces * faces
        pairs = (whole * whole - squares) / 2
        accepted, at, place = 0, 0, 0
        while place < len(steps) and at < len(fars):
            step = steps[place]
            while place < len(steps) and steps[place] == step:  # equal scores are accepted together
                accepted += drawn[first[place]] * drawn[second[place]] * stands_for[place]
                place += 1
            while at < len(fars) and accepted > fars[ascending[at]] * pairs:
                found[row, ascending[at]] = step + 1
                at += 1
        for rest in range(at, len(fars)):
            found[row, ascending[rest]] = steps[-1] if len(steps) else -1_000_000

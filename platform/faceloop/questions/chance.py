"""How likely two shots show one person: a logistic curve over a few pieces of evidence that learns from answers.

Evidence, all of it free: the margin of similarity; how small the smaller side is (the mean of many faces hardly errs,
so two large clusters below the threshold are two people, while a lone hard photo may be anybody's); the gap to the
next best match of either side. The prior weights come from half of the development photos, rounded towards
caution; the answers move them: the mode of a Bayesian logistic regression with normal priors (Gelman et al. 2008).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
EVIDENCE = 3
_LARGE_NODES = 8  # a larger side says no more
_WIDEST_GAP = 5.0  # in scales
_OFFSET_DEVIATION = 1.5
_WEIGHT_DEVIATION = 0.5
_NEWTON_STEPS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """P(same person) = logistic(offset + weights · evidence)."""

    offset: float  # log-odds without evidence
    weights: tuple[float, ...]  # EVIDENCE, >= 0

    def of(self, evidence: Float64Array) -> Float64Array:
        """Probabilities (m,) in (0, 1) of evidence (m, EVIDENCE)."""
        return np.asarray(expit(self.offset + evidence @ np.array(self.weights)), np.float64)


def evidence(
    margin: Float64Array,
    scale: float,
    *,
    smaller: NDArray[np.int64] | None = None,
    gap: Float64Array | None = None,
) -> Float64Array:
    """(m, EVIDENCE): margin (m,) and gap (m,) of cosines in units of `scale`, and minus the doublings of the nodes
    of the smaller side (m,). What is not given is 0."""
    found = np.zeros((len(margin), EVIDENCE))
    found[:, 0] = margin / scale
    if smaller is not None:
        found[:, 1] = -np.log2(np.clip(smaller, 1, _LARGE_NODES))
    if gap is not None:
        found[:, 2] = np.clip(gap / scale, -_WIDEST_GAP, _WIDEST_GAP)
    return found


def learn(prior: Chance, seen: Float64Array, is_same: BoolArray) -> Chance:
    """The prior moved by answers: the evidence (n, EVIDENCE) when asking, and what was answered, (n,)."""
    if len(seen) == 0:
        return prior
    design = np.concatenate([np.ones((len(seen), 1)), seen], axis=1)
    start = np.array([prior.offset, *prior.weights])
    pull = np.array([_OFFSET_DEVIATION**-2] + [_WEIGHT_DEVIATION**-2] * EVIDENCE)
    found = start.copy()
    for _ in range(_NEWTON_STEPS):
        chance = expit(design @ found)
        gradient = design.T @ (is_same - chance) - pull * (found - start)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(pull)
        step = np.linalg.solve(curvature, gradient)
        found = found + step / max(1.0, float(np.abs(step).max()))  # no step is longer than one unit
    return Chance(offset=float(found[0]), weights=tuple(np.maximum(found[1:], 0.0).tolist()))

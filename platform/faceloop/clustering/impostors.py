"""measure_calibration: the impostor distribution of a set of tracklets whose people nobody has named.

Two random tracklets are strangers but for a small share of pairs, and that share sits in the upper tail: so the median
and the spread of the lower half (a robust fit as in Huber 1981) hardly notice it. To make the share small and no person
count twice, tracklets far more alike than strangers are taken for one person, and each such person lends one tracklet.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration, Shortage
from faceloop.clustering.knn import row_dots

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

METHOD = "median and lower-half spread over provisional people"
MIN_PEOPLE = 40  # provisional ones; fewer, and a threshold is off by more than 0.04 one time in twenty
_MAX_ROWS = 4_000  # tracklets looked at: bounds the cost
_MAX_PAIRS = 2_000_000
_SURELY_ALIKE = 4.0  # sigmas above which two tracklets are taken for one person
_TRIMMED = 4.0  # sigmas above which a pair is left out of the fit
_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """What is measured: tracklets of one contract, and what is known without labels."""

    contract_id: str
    node_ids: tuple[str, ...]  # n, made by hashing, so that their order says nothing about people
    vectors: Float32Array  # (n, d) unit templates, poor ones left out
    same_picture: Int64Array  # (p, 2) rows seen in one picture: strangers
    genuine: Float32Array  # (g,) cosines of faces of one tracklet
    source: str


def measure_calibration(unlabelled: Unlabelled) -> Calibration | Shortage:
    """The calibration of a contract from unlabelled tracklets, or what is missing; the cost has an upper bound.

    The outcome does not depend on the order of the rows.
    """
    by_id = np.asarray(sorted(range(len(unlabelled.node_ids)), key=unlabelled.node_ids.__getitem__), np.int64)
    rows = by_id[_spread_out(len(by_id), _MAX_ROWS)]
    if len(rows) < MIN_PEOPLE:
        return Shortage(people=len(rows), needed=MIN_PEOPLE)
    one_each = _one_tracklet_a_person(unlabelled.vectors[rows])
    if len(one_each) < MIN_PEOPLE:
        return Shortage(people=len(one_each), needed=MIN_PEOPLE)
    cosines = cyclic_pairs(one_each, _MAX_PAIRS)
    mean, sd = robust_fit(cosines)
    together = unlabelled.same_picture
    in_picture = row_dots(unlabelled.vectors, together[:, 0], unlabelled.vectors, together[:, 1])
    return Calibration(
        contract_id=unlabelled.contract_id,
        impostor_mean=mean,
        impostor_sd=sd,
        impostor_pairs=len(cosines),
        people=len(one_each),
        same_picture_mean=float(in_picture.mean()) if len(in_picture) else None,
        same_picture_pairs=len(in_picture),
        genuine_mean=float(unlabelled.genuine.mean()) if len(unlabelled.genuine) else None,
        genuine_pairs=len(unlabelled.genuine),
        method=METHOD,
        source=unlabelled.source,
    )


def robust_fit(cosines: Float32Array) -> tuple[float, float]:
    """Mean and standard deviation of the bulk, from cosines (n,) with outliers above: n >= 1.

    The median is the mean, the root mean square below it the deviation; what lies far above is left out and both are
    taken again until nothing more falls.
    """
    kept = np.sort(cosines.astype(np.float64))
    for _ in range(_ROUNDS):
        mean = float(np.median(kept))
        below = kept[kept <= mean]
        sd = max(float(np.sqrt(np.mean((below - mean) ** 2))), 1e-6)
        count = int(np.searchsorted(kept, mean + _TRIMMED * sd, side="right"))
        if count == len(kept):
            break
        kept = kept[:count]
    return mean, sd


def cyclic_pairs(vectors: Float32Array, max_pairs: int) -> Float32Array:
    """Cosines of rows (n, d) with the rows 1, 2, … places further round, every row equally often: (pairs,) f32.

    All pairs where they are no more than `max_pairs`, n >= 2.
    """
    n = len(vectors)
    shifts = min((n - 1) // 2, max(1, max_pairs // n))
    parts = [np.einsum("nd,nd->n", vectors, np.roll(vectors, -shift, axis=0)) for shift in range(1, shifts + 1)]
    if n % 2 == 0 and shifts == (n - 1) // 2:  # opposite rows: each pair once
        parts.append(np.einsum("nd,nd->n", vectors[: n // 2], vectors[n // 2 :]))
    cosines: Float32Array = np.concatenate(parts).astype(np.float32)
    return cosines


def _one_tracklet_a_person(vectors: Float32Array) -> Float32Array:
    """One row for each provisional person, (people, d), of rows (n, d): the threshold comes from the rows chosen with
    the one before, and first from those that resemble each other least: there one person seen often counts once."""
    chosen = _farthest(vectors, MIN_PEOPLE)
    for _ in range(_ROUNDS):
        mean, sd = robust_fit(cyclic_pairs(chosen, _MAX_PAIRS))
        leaders = _leaders(vectors, min(mean + _SURELY_ALIKE * sd, 0.99))
        if len(leaders) < MIN_PEOPLE or len(leaders) == len(chosen):
            return leaders
        chosen = leaders
    return chosen


def _farthest(vectors: Float32Array, count: int) -> Float32Array:
    """`count` rows, each the one that least resembles those before (farthest-first traversal: Gonzalez 1985)."""
    rows, likeness = [0], vectors @ vectors[0]
    for _ in range(count - 1):
        rows.append(int(likeness.argmin()))
        likeness = np.maximum(likeness, vectors @ vectors[rows[-1]])
    chosen: Float32Array = vectors[rows]
    return chosen


def _leaders(vectors: Float32Array, threshold: float) -> Float32Array:
    """The rows, in order, that no row chosen before resembles at `threshold`: chains of likeness join nobody."""
    leaders = np.empty_like(vectors)
    count = 0
    for vector in vectors:
        if count == 0 or (leaders[:count] @ vector).max() < threshold:
            leaders[count] = vector
            count += 1
    return leaders[:count]


def _spread_out(count: int, most: int) -> Int64Array:
    """At most `most` rows of 0..count-1, evenly."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return (np.arange(most, dtype=np.int64) * count) // most

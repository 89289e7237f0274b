"""Intervals of partition scores by the bootstrap over people.

Faces of one person are right or wrong together, so people are drawn, not faces (a cluster bootstrap:
Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). A person drawn twice
stands for two people who happen to look alike in numbers; the two are never compared with each other,
for nothing was measured about such a pair. A perfect partition so keeps the interval [1, 1]. BCubed
precision is taken to first order in who was drawn: recomputed exactly it would be biased upwards, since
a cluster of two people often loses one of them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.metrics import Contingency, contingency
from facestore.errors import DataError

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a score lies with the asked confidence: 0 <= low <= high <= 1."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreIntervals:
    """Percentile intervals of the scores of `score_partition`."""

    pairwise_precision: Interval
    pairwise_recall: Interval
    pairwise_f: Interval
    bcubed_precision: Interval
    bcubed_recall: Interval
    bcubed_f: Interval


def bootstrap_scores(
    predicted: IntArray, truth: IntArray, *, resamples: int, seed: int, level: float = 0.95
) -> ScoreIntervals:
    """Intervals that hold `level` (in (0, 1)) of `resamples` draws of as many people as there are.

    Labels as in `score_partition`: integer (n,), -1 in `predicted` is a cluster of its own. One resample
    costs one pass over the identities and the cells of mixed clusters. Raises DataError for labels of
    different shapes, no labels, no resamples, or a level outside (0, 1).
    """
    if resamples < 1 or not 0 < level < 1:
        raise DataError(f"{resamples} resamples at level {level}: ask for at least 1, at a level inside (0, 1)")
    drawn = resampled_scores(contingency(predicted, truth), resamples=resamples, seed=seed)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return ScoreIntervals(
        pairwise_precision=Interval(low=float(low[0]), high=float(high[0])),
        pairwise_recall=Interval(low=float(low[1]), high=float(high[1])),
        pairwise_f=Interval(low=float(low[2]), high=float(high[2])),
        bcubed_precision=Interval(low=float(low[3]), high=float(high[3])),
        bcubed_recall=Interval(low=float(low[4]), high=float(high[4])),
        bcubed_f=Interval(low=float(low[5]), high=float(high[5])),
    )


def resampled_scores(table: Contingency, *, resamples: int, seed: int) -> FloatArray:
    """Scores of every resample, (resamples, 6) float64: pairwise P, R, F, then BCubed P, R, F."""
    people = len(table.identity_sizes)
    counts = table.counts.astype(np.float64)
    sizes = table.identity_sizes.astype(np.float64)
    is_mixed = np.bincount(table.cell_cluster)[table.cell_cluster] > 1

    def per_person(values: FloatArray) -> FloatArray:
        return np.bincount(table.cell_identity, values, minlength=people).astype(np.float64)

    in_cluster = table.cluster_sizes[table.cell_cluster].astype(np.float64)
    squares = np.bincount(table.cell_cluster, counts * counts)[table.cell_cluster]
    taken = per_person(counts * (squares - counts * counts) / (in_cluster * in_cluster))
    # Sums over people that are linear in how often each was drawn: one row a person.
    linear = np.stack(
        [
            sizes,
            sizes * (sizes - 1) / 2,
            per_person(counts * (counts - 1) / 2),  # pairs joined rightly
            per_person(counts * counts) / sizes,  # BCubed recall times faces
            per_person(counts * counts / in_cluster),  # BCubed precision times faces …
            taken,  # … and what the others of their clusters lose by them
        ],
        axis=1,
    )
    person, joined = table.cell_identity[is_mixed], counts[is_mixed]
    _, cluster = np.unique(table.cell_cluster[is_mixed], return_inverse=True)
    rng = np.random.default_rng(seed)
    scores = np.empty((resamples, 6))
    for row in range(resamples):
        times = np.bincount(rng.integers(people, size=people), minlength=people).astype(np.float64)
        faces, true_pairs, right_pairs, recalled, precise, lost = times @ linear
        present = times[person] * joined
        strangers = np.bincount(cluster, present)[cluster] - present  # in the same cluster, other people
        wrong_pairs = float(present @ strangers) / 2
        scores[row, 0] = right_pairs / (right_pairs + wrong_pairs) if right_pairs + wrong_pairs else 1.0
        scores[row, 1] = right_pairs / true_pairs if true_pairs else 1.0
        scores[row, 3], scores[row, 4] = (precise - lost + taken.sum()) / faces, recalled / faces
    scores.clip(0.0, 1.0, out=scores)
    for first in (0, 3):
        total = scores[:, first] + scores[:, first + 1]
        scores[:, first + 2] = 2 * scores[:, first] * scores[:, first + 1] / np.where(total > 0, total, 1)
    return scores

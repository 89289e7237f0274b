"""Hubness: some faces resemble everybody (blurred, frontal, average); their similarities mean less.

How similar a face is to the strangers nearest to it, relative to the usual face of this set, is taken
off both ends of a similarity. That is cohort normalisation of verification scores (Auckenthaler et al.
2000; a cohort chosen per face, as in adaptive s-norm: Matějka et al. 2017) and CSLS (Conneau et al.
2018), kept linear so that averages over merged clusters stay exact. Strangers are provisional clusters
rather than faces, so that a person seen a thousand times is one stranger, and never his own.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import SearchParams, nearest
from faceloop.clustering.strangers import cohort_means
from faceloop.clustering.ties import Ties

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_SPARE = 9  # looked at beyond the cohort: the unit's own cluster, and others that rank lower for its cluster's mean


def hubness_to_strangers(
    clusters: Clusters,
    provisional: Int64Array,
    ties: Ties,
    *,
    skipped: int,
    cohort: int,
    ceiling: float,
    prior: int,
    search: SearchParams,
) -> Float32Array:
    """Mean similarity to the cohort less the median of that over all, (c,) f32, any sign.

    `provisional` (c,) numbers the clusters' provisional clusters from 0, and `ties` are theirs. Strangers are
    looked for among the clusters nearest to one's own. The nearest `skipped` others
    may be the same person, so the cohort is the `cohort` ones after them; and so may those nearer than
    `ceiling`: hard photos of a person seen a thousand times are many. Where fewer remain the value
    shrinks towards 0 as if `prior` usual strangers stood beside them: without strangers there is
    nothing to say.
    """
    means = clusters.gathered(provisional, int(provisional.max()) + 1).means()
    found = nearest(means, means, skipped + cohort + _SPARE, search)
    mean, counts = cohort_means(
        clusters.means(), means, found.index, provisional, ties.group_of, skipped, cohort, ceiling
    )
    if not counts.any():
        return np.zeros(len(provisional), np.float32)
    usual = float(np.median(mean[counts > 0]))
    pull: Float32Array = ((mean - usual) * counts / (counts + prior)).astype(np.float32)
    return pull

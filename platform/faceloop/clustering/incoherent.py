"""Crowds of poor faces that linkage took for one person.

Blurred faces resemble each other whoever they show, so those that slip through the quality floor form one large
cluster. Average linkage leaves no trace of it in the similarities: every merge was above the threshold, so the mean
inside is too, and a blur is as dense as a person. What gives it away is that large clusters of real people have much
the same mean quality, and this one stands far below them.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.ties import Ties

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_CROWD_NODES = 50  # smaller clusters vary too much in their mean
_FEWEST_CROWDS = 10  # with fewer of that size there is no usual quality to compare with
_DEVIATIONS = 4.0  # robust standard deviations below the median; the worst real person of the synthetic sets had 3.0
_MAD_TO_DEVIATION = 1.4826


def incoherent_clusters(
    of_node: Int64Array, quality: Float32Array, ties: Ties, is_tied: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which clusters are crowds of poor faces, (c,). `of_node` (n,) numbers them from 0, `quality` (n,) in [0, 1].

    A cluster that shares a group with a node that people tied (`is_tied` (n,)) is never one: they have seen it.
    """
    count = len(ties.group_of)
    sizes = np.bincount(of_node, minlength=count)
    mean = np.bincount(of_node, quality, minlength=count) / sizes
    is_crowd = sizes >= _CROWD_NODES
    if is_crowd.sum() < _FEWEST_CROWDS:
        return np.zeros(count, np.bool_)
    usual = np.median(mean[is_crowd])
    spread = _MAD_TO_DEVIATION * np.median(np.abs(mean[is_crowd] - usual))
    is_known = np.zeros(ties.count, np.bool_)
    is_known[ties.group_of[of_node[is_tied]]] = True
    found: NDArray[np.bool_] = is_crowd & (mean < usual - _DEVIATIONS * spread) & ~is_known[ties.group_of]
    return found

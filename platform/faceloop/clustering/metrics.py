"""How well a partition matches the truth: pairwise, BCubed, NMI, identities split, clusters mixed.

Pairwise and BCubed as in Amigó et al., "A comparison of extrinsic clustering evaluation metrics based
on formal constraints" (2009); NMI over the arithmetic mean of the two entropies. Everything is read
off the contingency table, so the cost is that of sorting n labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionScores:
    """Agreement of a predicted partition with the true one. Ratios lie in [0, 1]; 1 is perfect.

    A ratio whose denominator is empty is 1: no pair was joined, so no pair was joined wrongly.
    """

    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    nmi: float
    identities_split: int  # true identities spread over more than one cluster
    clusters_mixed: int  # clusters that hold more than one true identity
    n_clusters: int
    n_identities: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contingency:
    """The non-empty cells of clusters × identities, both numbered from 0, sorted by (cluster, identity)."""

    cell_cluster: NDArray[np.int64]  # (cells,)
    cell_identity: NDArray[np.int64]  # (cells,)
    counts: NDArray[np.int64]  # (cells,) faces, >= 1
    cluster_sizes: NDArray[np.int64]  # (clusters,) faces, >= 1
    identity_sizes: NDArray[np.int64]  # (identities,) faces, >= 1


def contingency(predicted: IntArray, truth: IntArray) -> Contingency:
    """Count the faces of each cluster by identity; both labellings are integer arrays (n,), n >= 1.

    -1 in `predicted` means "left out": each such face counts as a cluster of its own.
    Raises DataError when the shapes differ or nothing is given.
    """
    if predicted.ndim != 1 or predicted.shape != truth.shape or predicted.size == 0:
        raise DataError(
            f"cannot score labels of shapes {predicted.shape} and {truth.shape}; "
            "give two one-dimensional arrays of the same length, at least 1"
        )
    cluster = _own_cluster_when_left_out(predicted)
    _, identity = np.unique(truth, return_inverse=True)
    cluster_sizes, identity_sizes = np.bincount(cluster), np.bincount(identity)
    n_identities = len(identity_sizes)
    cells, counts = np.unique(cluster * n_identities + identity, return_counts=True)
    cell_cluster, cell_identity = np.divmod(cells, n_identities)
    return Contingency(
        cell_cluster=cell_cluster,
        cell_identity=cell_identity,
        counts=counts,
        cluster_sizes=cluster_sizes,
        identity_sizes=identity_sizes,
    )


def score_partition(predicted: IntArray, truth: IntArray) -> PartitionScores:
    """Compare two labellings of the same faces, both integer arrays of shape (n,), n >= 1.

    -1 in `predicted` means "left out": each such face counts as a cluster of its own.
    Raises DataError when the shapes differ or nothing is given.
    """
    table = contingency(predicted, truth)
    cluster_sizes, identity_sizes, counts = table.cluster_sizes, table.identity_sizes, table.counts
    joined_rightly = _pairs(counts)
    pairwise_precision = _ratio(joined_rightly, _pairs(cluster_sizes))
    pairwise_recall = _ratio(joined_rightly, _pairs(identity_sizes))
    share = counts.astype(np.float64) / predicted.size
    bcubed_precision = float(np.sum(share * counts / cluster_sizes[table.cell_cluster]))
    bcubed_recall = float(np.sum(share * counts / identity_sizes[table.cell_identity]))
    return PartitionScores(
        pairwise_precision=pairwise_precision,
        pairwise_recall=pairwise_recall,
        pairwise_f=harmonic_mean(pairwise_precision, pairwise_recall),
        bcubed_precision=bcubed_precision,
        bcubed_recall=bcubed_recall,
        bcubed_f=harmonic_mean(bcubed_precision, bcubed_recall),
        nmi=_nmi(share, cluster_sizes, identity_sizes),
        identities_split=int(np.count_nonzero(np.bincount(table.cell_identity) > 1)),
        clusters_mixed=int(np.count_nonzero(np.bincount(table.cell_cluster) > 1)),
        n_clusters=len(cluster_sizes),
        n_identities=len(identity_sizes),
    )


def harmonic_mean(precision: float, recall: float) -> float:
    """F of a precision and a recall, 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def _own_cluster_when_left_out(predicted: IntArray) -> NDArray[np.int64]:
    names, cluster = np.unique(predicted, return_inverse=True)
    is_left_out = predicted == -1
    if is_left_out.any():
        # -1 is the number of nobody now: the others move down over it, the left out come after them.
        place = int(np.searchsorted(names, -1))
        cluster = cluster - (cluster > place)
        cluster[is_left_out] = len(names) - 1 + np.arange(np.count_nonzero(is_left_out))
    return cluster.astype(np.int64)


def _pairs(sizes: IntArray) -> float:
    counts = sizes.astype(np.float64)
    return float(np.sum(counts * (counts - 1) / 2))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0


def _entropy(shares: FloatArray) -> float:
    return float(-np.sum(shares * np.log(shares)))


def _nmi(cell_shares: FloatArray, cluster_sizes: IntArray, identity_sizes: IntArray) -> float:
    faces = cluster_sizes.sum()
    of_clusters, of_identities = _entropy(cluster_sizes / faces), _entropy(identity_sizes / faces)
    mean_entropy = (of_clusters + of_identities) / 2
    if mean_entropy == 0:
        return 1.0
    mutual = of_clusters + of_identities - _entropy(cell_shares)
    return float(np.clip(mutual / mean_entropy, 0.0, 1.0))

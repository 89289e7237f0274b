"""foldergroups: which photos of a folder speak for it, and how much each resembles them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from faceloop.clustering.calibration import Calibration

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_MAX_COMPARED = 500  # photos of a folder that are compared pair by pair; of a larger one this many, evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """For each photo how it stands in its folder."""

    own_sigmas: NDArray[np.float64]  # (p,) likeness to those that speak for its folder, NaN where nobody is left
    is_tied: NDArray[np.bool_]  # (p,) its folder holds two groups of one size, and it is in one of them
    folder_means: Float32Array  # (f, d) mean of the vectors that speak for a folder, norm at most 1


def company_in_folders(
    vectors: Float32Array,
    folders: Int64Array,
    calibration: Calibration,
    same_sigmas: float,
    duplicate_similarity: float,
) -> Company:
    """Split each folder into groups of like photos (average linkage at `same_sigmas`) and take the largest for it.

    `vectors` (p, d) unit norm, `folders` (p,) 0..f-1. Repeats of a photo, at `duplicate_similarity` or above, are no
    company for it. Where the two largest groups are equal nobody knows who is right: all speak, and all are tied.
    """
    count = int(folders.max()) + 1
    own = np.full(len(vectors), np.nan)
    is_tied = np.zeros(len(vectors), np.bool_)
    means = np.zeros((count, vectors.shape[1]), np.float32)
    order = np.argsort(folders, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(folders[order])) + 1):
        compared = members[np.unique(np.linspace(0, len(members) - 1, _MAX_COMPARED).astype(np.int64))]
        within = vectors[compared] @ vectors[compared].T
        groups = _groups(within, calibration.cosine(same_sigmas))
        sizes = np.bincount(groups)
        largest = np.flatnonzero(sizes == sizes.max())
        is_tie = len(largest) > 1 and sizes.max() > 1
        speaks = np.ones(len(compared), np.bool_) if len(largest) > 1 else groups == largest[0]
        means[folders[members[0]]] = vectors[compared[speaks]].mean(axis=0)
        likeness = vectors[members] @ vectors[compared[speaks]].T
        likeness[members[:, None] == compared[speaks][None, :]] = np.nan
        likeness[likeness >= duplicate_similarity] = np.nan
        has_company = np.isfinite(likeness).any(axis=1)
        own[members[has_company]] = np.nanmean(likeness[has_company], axis=1)
        if is_tie:
            is_tied[compared[np.isin(groups, largest)]] = True
    return Company(
        own_sigmas=(own - calibration.impostor_mean) / calibration.impostor_sd, is_tied=is_tied, folder_means=means
    )


def _groups(within: Float32Array, least: float) -> Int64Array:
    """Group of each photo, numbered from 0, from their cosines (m, m)."""
    if len(within) == 1:
        return np.zeros(1, np.int64)
    distance = np.clip(1 - within, 0, 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average")
    groups: Int64Array = fcluster(tree, 1 - least, criterion="distance").astype(np.int64) - 1
    return groups

"""The numbers of the clustering, each with its range."""

from dataclasses import dataclass

import numpy as np

from faceloop.clustering.knn import SearchParams
from facestore.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParams:
    """Similarities are mean cosines between the faces of two clusters, less hubness.

    They belong to an embedding contract: another recogniser needs others. Raises ConfigError for a
    value outside its range.
    """

    neighbours: int  # k of the neighbour graphs, >= 1
    micro_similarity: (
        float  # in one subset what is so near is one unit from the start, in [-1, 2]; above 1 turns it off
    )
    within_similarity: float  # clusters of one subset merge down to this, in [-1, 1]
    across_similarity: float  # then any clusters merge down to this, in [-1, 1]
    attach_similarity: float  # a lone node may still join a cluster this near, in [-1, 1]; 1 turns it off
    attach_margin: float  # if it is nearer than any other by this, in [0, 2]
    min_quality: float  # nodes below are left out, in [0, 1]
    full_quality: float  # from here on a node is taken at its word, in [0, 1]
    quality_toll: float  # cosine taken off both ends for each 1.0 of quality short of that, in [0, 2]
    hubness_share: float  # how much of the hubness is taken off, in [0, 2]; 0 turns it off
    hubness_similarity: float  # provisional clusters merge down to this; only those farther are strangers
    hubness_skipped: int  # nearest of them that may still be the same person, >= 0
    hubness_cohort: int  # how many after those are looked at, >= 1
    hubness_prior: int  # strangers it takes to trust the cohort by half, >= 1
    confidence_scale: float  # cosine margin that moves the log-odds of a confidence by 1, > 0
    search: SearchParams

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "neighbours": (1, np.inf),
            "micro_similarity": (-1, 2),
            "within_similarity": (-1, 1),
            "across_similarity": (-1, 1),
            "attach_similarity": (-1, 1),
            "attach_margin": (0, 2),
            "min_quality": (0, 1),
            "full_quality": (0, 1),
            "quality_toll": (0, 2),
            "hubness_share": (0, 2),
            "hubness_similarity": (-1, 1),
            "hubness_skipped": (0, np.inf),
            "hubness_cohort": (1, np.inf),
            "hubness_prior": (1, np.inf),
            "confidence_scale": (1e-6, np.inf),
        }
        for key, (low, high) in ranges.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise ConfigError(f"{key} is {value}; give a value from {low:g} to {high:g}")

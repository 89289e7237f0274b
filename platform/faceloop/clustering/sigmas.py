"""calibrated: the numbers of the clustering, written in standard deviations above strangers, as cosines."""

from dataclasses import dataclass

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.params import PartitionParams


@dataclass(frozen=True, slots=True, kw_only=True)
class SigmaParams:
    """`PartitionParams` with every similarity in standard deviations above the mean of strangers.

    A margin, a difference of two similarities, is in standard deviations alone.
    """

    neighbours: int
    micro_sigmas: float
    within_sigmas: float
    across_sigmas: float
    attach_sigmas: float
    attach_margin_sigmas: float
    min_quality: float
    full_quality: float
    quality_toll_sigmas: float
    hubness_share: float
    hubness_sigmas: float
    hubness_skipped: int
    hubness_cohort: int
    hubness_prior: int
    confidence_scale_sigmas: float
    search: SearchParams


def calibrated(params: SigmaParams, calibration: Calibration) -> PartitionParams:
    """The same numbers in cosines of one embedding contract. Raises ConfigError for a value outside its range."""
    return PartitionParams(
        neighbours=params.neighbours,
        micro_similarity=calibration.cosine(params.micro_sigmas),
        within_similarity=calibration.cosine(params.within_sigmas),
        across_similarity=calibration.cosine(params.across_sigmas),
        attach_similarity=calibration.cosine(params.attach_sigmas),
        attach_margin=calibration.difference(params.attach_margin_sigmas),
        min_quality=params.min_quality,
        full_quality=params.full_quality,
        quality_toll=calibration.difference(params.quality_toll_sigmas),
        hubness_share=params.hubness_share,
        hubness_similarity=calibration.cosine(params.hubness_sigmas),
        hubness_skipped=params.hubness_skipped,
        hubness_cohort=params.hubness_cohort,
        hubness_prior=params.hubness_prior,
        confidence_scale=calibration.difference(params.confidence_scale_sigmas),
        search=params.search,
    )

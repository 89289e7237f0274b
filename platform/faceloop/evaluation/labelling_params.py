"""The section `evaluate.labelling`: does the candidate label better than the current model?"""

from pydantic import Field

from faceloop.clustering.knn import SearchParams
from faceloop.clustering.sigmas import SigmaParams
from faceloop.params import StageParams


class ClusteringParams(StageParams):
    """As section `cluster`, which is what both models would be used with."""

    neighbours: int = Field(ge=1, le=1024)
    micro_sigmas: float = Field(ge=-20, le=40)
    within_sigmas: float = Field(ge=-20, le=40)
    across_sigmas: float = Field(ge=-20, le=40)
    attach_sigmas: float = Field(ge=-20, le=40)
    attach_margin_sigmas: float = Field(ge=0, le=20)
    min_quality: float = Field(ge=0, le=1)
    full_quality: float = Field(ge=0, le=1)
    quality_toll_sigmas: float = Field(ge=0, le=20)
    hubness_share: float = Field(ge=0, le=2)
    hubness_sigmas: float = Field(ge=-20, le=40)
    hubness_skipped: int = Field(ge=0)
    hubness_cohort: int = Field(ge=1)
    hubness_prior: int = Field(ge=1)
    confidence_scale_sigmas: float = Field(gt=0)
    flat_rows_max: int = Field(ge=1)
    probes: int = Field(ge=1)
    block_rows: int = Field(ge=1)

    def search(self) -> SearchParams:
        """How neighbours are searched; on the CPU, so that every machine finds the same."""
        return SearchParams(
            flat_rows_max=self.flat_rows_max, probes=self.probes, block_rows=self.block_rows, device="cpu"
        )

    def sigmas(self) -> SigmaParams:
        """The numbers before a calibration turns them into cosines."""
        return SigmaParams(**self.model_dump(exclude={"flat_rows_max", "probes", "block_rows"}), search=self.search())


class AskedParams(StageParams):
    """A person made of truth is asked until the clustering is right, as `faceloop simulate` does."""

    target_f: float = Field(gt=0, le=1)
    most: int = Field(ge=0)  # questions; 0: nobody is asked
    batch: int = Field(ge=1)  # answers between two clusterings
    neighbours: int = Field(ge=1, le=1024)  # as select.neighbours
    certainty: float = Field(gt=0.5, lt=1)  # as select.certainty
    lowest_chance: float = Field(gt=0, lt=0.5)  # as select.lowest_chance
    seconds: float = Field(gt=0)  # of a person, for an answer


class LabellingParams(StageParams):
    """Both models get the same faces, the same numbers in sigmas, the same draws of the bootstrap."""

    seed: int = Field(ge=0)
    resamples: int = Field(ge=100)
    level: float = Field(gt=0.5, lt=1)  # of the intervals
    few_identities: int = Field(ge=2)  # with fewer people an interval is too narrow to claim anything
    sure_confidence: float = Field(ge=0, le=1)  # a machine label counts as given from here on; as pack.min_confidence
    clustering: ClusteringParams
    asked: AskedParams

"""What `evaluate` reads from params about verification, search and slices: what must be shown, where floors are."""

from pydantic import Field, model_validator

from faceloop.evaluation.coverage_params import MeasuredAxis
from faceloop.evaluation.identification import Fusion
from faceloop.params import StageParams


class IntervalParams(StageParams):
    replicates: int = Field(ge=100, le=10_000)
    confidence: float = Field(gt=0.5, lt=1)


class SupportParams(StageParams):
    """What a gold set must hold before a rate is stated; else it is refused, with the reason."""

    false_accepts: float = Field(ge=3)
    people: float = Field(ge=1)
    genuine_pairs: int = Field(ge=1)
    identities: int = Field(ge=2)


class SearchParams(StageParams):
    """1:N, in an open set."""

    fpirs: list[float] = Field(min_length=1)
    unmated_share: float = Field(gt=0, lt=1)
    templates: int = Field(ge=1)
    fusion: Fusion
    ranks: int = Field(ge=1, le=100)


class SliceParams(StageParams):
    """Slices by measured columns of faces; by subset and by attribute there are always slices."""

    far: float = Field(gt=0, lt=1)  # whose threshold counts: one of evaluate.fars
    pairs: int = Field(ge=1)
    people: int = Field(ge=2)
    measured: dict[str, MeasuredAxis]

    @model_validator(mode="after")
    def _names_are_free(self) -> "SliceParams":
        if taken := {"all", "subset"} & set(self.measured):
            raise ValueError(f"a slice cannot be named {', '.join(sorted(taken))}; choose another name")
        return self


class LeakageParams(StageParams):
    similarity: float = Field(ge=0, le=1)  # cosine from which a gold face nearly repeats a trained one

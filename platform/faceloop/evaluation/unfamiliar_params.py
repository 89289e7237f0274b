"""The section `evaluate.unfamiliar`: how many pictures that are no live, bare face a model is shown."""

from pydantic import Field

from faceloop.params import StageParams


class UnfamiliarParams(StageParams):
    """Pictures are made from crops of the release and of installed packages, by seed."""

    seed: int = Field(ge=0)
    pictures_per_kind: int = Field(ge=1, le=10_000)
    most_known: int = Field(ge=2)  # crops of the release that are looked at: gallery and genuine probes
    min_quality: float = Field(ge=0, le=1)  # as detect.min_quality
    confidence_level: float = Field(gt=0.5, lt=1)  # of the upper bounds

"""The section `select` of the params: what people are asked, for how long, and when asking ends."""

from pydantic import Field, model_validator

from faceloop.params import StageParams
from faceloop.questions.selection import Strategy


class SecondsParams(StageParams):
    """Of a person, for one answer. Until people were timed these are guesses."""

    same_person: float = Field(gt=0)
    odd_ones_out: float = Field(gt=0)  # a grid …
    member: float = Field(gt=0)  # … and each face in it
    who_is_this: float = Field(gt=0)  # a probe …
    candidate: float = Field(gt=0)  # … and each candidate
    attributes: float = Field(gt=0)
    boxes: float = Field(gt=0)  # a frame …
    box: float = Field(gt=0)  # … and each box in it
    landmarks: float = Field(gt=0)


class ShareParams(StageParams):
    """Shares of the budget for what puts no doubt right."""

    confirmations: float = Field(ge=0, lt=1)
    attributes: float = Field(ge=0, lt=1)
    boxes: float = Field(ge=0, lt=1)
    landmarks: float = Field(ge=0, lt=1)
    honeypots: float = Field(ge=0, lt=1)  # of the questions about who is who

    def sides(self) -> float:
        """What is left of the budget for other things than identities is 1 minus this."""
        return self.confirmations + self.attributes + self.boxes + self.landmarks


class SelectParams(StageParams):
    """Gains are pairs of faces put right."""

    seed: int
    strategy: Strategy
    budget_minutes: float = Field(ge=0)
    min_gain_per_minute: float = Field(ge=0)
    target_f: float = Field(gt=0, le=1)
    error_rate: float = Field(gt=0, lt=0.5)
    certainty: float = Field(gt=0.5, lt=1)
    threshold_sigmas: float = Field(ge=-20, le=40)
    confidence_scale_sigmas: float = Field(gt=0)
    alike_sigmas: float = Field(ge=-20, le=40)
    neighbours: int = Field(ge=1, le=1024)
    lowest_chance: float = Field(gt=0, lt=0.5)
    key_log_odds: float = Field(ge=0)
    quorum: int = Field(ge=1)
    shots: int = Field(ge=1)
    members: int = Field(ge=2)
    candidates: int = Field(ge=2)
    window: int = Field(ge=0)
    balance: float = Field(ge=0, le=1)
    honeypot_identities: int = Field(ge=2)
    seconds: SecondsParams
    shares: ShareParams

    @model_validator(mode="after")
    def _leaves_time_for_identities(self) -> "SelectParams":
        if self.shares.sides() >= 1:
            raise ValueError("shares of confirmations, attributes, boxes and landmarks must add up to less than 1")
        return self

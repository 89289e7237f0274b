"""The section `review` of the params: how people are asked and how far they are believed."""

from pydantic import Field

from faceloop.params import StageParams
from facereview.schema import AttributeField, AttributeSchema


class AttributeParams(StageParams):
    """One attribute that people may be asked about."""

    name: str
    title: str
    values: list[str]


class QualityParams(StageParams):
    """How answers are checked, and what is made of it."""

    overlap_share: float = Field(ge=0, le=1)  # of questions that two people answer
    overlap_seed: int
    recheck_gain_per_minute: float = Field(gt=0)  # pairs of faces: less is no reason to ask a settled pair again
    prior_weight: float = Field(gt=0)  # answers that `review.error_rate` is worth before anything is known
    machine_limit: float = Field(ge=0.5, lt=1)  # how sure the machine may be of a truth that nobody knows
    careless_error: float = Field(gt=0, lt=0.5)  # error rate from which an annotator is careless …
    careless_certainty: float = Field(ge=0.5, lt=1)  # … said from this probability on
    least_error: float = Field(gt=0, lt=0.5)  # nobody is believed to err less
    longest_s: float = Field(gt=0)  # of an answer; somebody was away
    hasty_s: float = Field(ge=0)  # an answer in less was not looked at


class ReviewParams(StageParams):
    pictures: str  # `folder`: one that the labelling server serves; or s3://BUCKET/PREFIX
    project_tasks: int = Field(ge=1)  # questions in one project
    backlog: int = Field(ge=1)  # unanswered questions at most
    max_rounds: int = Field(ge=1, le=9)  # askings of a question before somebody must decide
    certainty: float = Field(gt=0.5, lt=1)  # from which an answer counts
    error_rate: float = Field(gt=0, lt=0.5)  # of annotators about whom nothing is known
    quality: QualityParams
    attributes: list[AttributeParams]

    def schema_of_attributes(self) -> AttributeSchema:
        """Raises ConfigError for names or values that repeat."""
        return AttributeSchema(
            fields=tuple(
                AttributeField(name=field.name, title=field.title, values=tuple(field.values))
                for field in self.attributes
            )
        )

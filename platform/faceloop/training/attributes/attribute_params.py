"""Params of the stage `train_attributes`. Loaded by every command: no torch here."""

from typing import Literal

from pydantic import Field, model_validator

from faceloop.params import StageParams

HeadKind = Literal["classes", "number"]
BalancingKind = Literal["fixed", "uncertainty", "gradnorm"]
MixKind = Literal["none", "mixup", "cutmix"]


class HeadParams(StageParams):
    """One attribute. `classes` has values, as people may say them; a `number` (yaw, age) has none."""

    name: str = Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$")
    kind: HeadKind
    values: list[str]

    @model_validator(mode="after")
    def _fit(self) -> "HeadParams":
        if self.kind == "classes" and (len(self.values) < 2 or len(set(self.values)) < len(self.values)):
            raise ValueError(f"head {self.name}: a head of classes needs two or more values, each once")
        if self.kind == "number" and self.values:
            raise ValueError(f"head {self.name}: a number has no values; leave the list empty")
        return self


class RecipeParams(StageParams):
    """One training: AdamW, the epoch of the least loss on val wins."""

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=2, le=65_536)
    learning_rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0, le=1)


class BalancingParams(StageParams):
    """How tasks share the trunk."""

    kind: BalancingKind
    weights: dict[str, float]  # of `fixed`; an attribute that is not named counts 1
    gradnorm_alpha: float = Field(ge=0, le=5)  # how hard a task that lags is pulled along

    @model_validator(mode="after")
    def _positive(self) -> "BalancingParams":
        if any(weight <= 0 for weight in self.weights.values()):
            raise ValueError("weights must be above 0; leave a head out of heads instead")
        return self


class BackboneParams(StageParams):
    """Whether layers of the recogniser learn too. Then crops are read, and the model takes pixels."""

    pack: str
    accept_licence: Literal["non-commercial"] | None
    trained_layers: int = Field(ge=0)  # the last so many with weights; 0: all frozen
    mix: MixKind
    mix_alpha: float = Field(gt=0, le=10)
    recipe: RecipeParams


class ClipParams(StageParams):
    """The head over a tracklet's embeddings in time order."""

    attributes: list[str]
    hidden_units: int = Field(ge=1, le=4096)
    most_faces: int = Field(ge=2, le=4096)  # of a tracklet: the first so many
    recipe: RecipeParams


class AttributeSupportParams(StageParams):
    """What there must be before a head is trained, and before a figure is stated."""

    faces_per_value: int = Field(ge=1)  # in train; a value below is left out
    train_faces: int = Field(ge=2)
    test_faces: int = Field(ge=1)
    test_people: int = Field(ge=2)
    val_faces: int = Field(ge=1)  # below, probabilities stay as they are


class AttributeIntervalParams(StageParams):
    replicates: int = Field(ge=10, le=100_000)  # draws of people
    confidence: float = Field(gt=0, lt=1)


class TrainAttributesParams(StageParams):
    """The section `train_attributes`."""

    seed: int = Field(ge=0)
    val_share: float = Field(ge=0, lt=1)
    test_share: float = Field(ge=0, lt=1)
    heads: list[HeadParams]
    hidden_units: int = Field(ge=0, le=4096)  # of the trunk that heads share; 0: none
    label_smoothing: float = Field(ge=0, lt=1)
    has_class_weights: bool
    sure_accuracy: float = Field(gt=0, lt=1)
    balancing: BalancingParams
    recipe: RecipeParams
    backbone: BackboneParams
    clips: ClipParams
    support: AttributeSupportParams
    intervals: AttributeIntervalParams

    @model_validator(mode="after")
    def _agree(self) -> "TrainAttributesParams":
        names = [head.name for head in self.heads]
        if len(set(names)) < len(names):
            raise ValueError("heads: an attribute is there twice")
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share must stay below 1")
        if unknown := {*self.clips.attributes, *self.balancing.weights} - set(names):
            raise ValueError(f"{', '.join(sorted(unknown))}: in clips.attributes or balancing.weights, but no head")
        if self.balancing.kind == "gradnorm" and not self.hidden_units:
            raise ValueError("balancing gradnorm compares gradients of the shared trunk; set hidden_units above 0")
        return self

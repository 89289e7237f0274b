"""What a training may be told: the section `train` of params.yaml. Plain values, no torch."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceloop.params import StageParams

SCRATCH = "scratch"
_Share = Annotated[float, Field(ge=0, le=1)]
_Weight = Annotated[float, Field(ge=0, le=100)]


class ArchitectureParams(StageParams):
    """The backbone of a start from scratch; any other start brings its own."""

    kind: Literal["mobilefacenet", "iresnet18", "iresnet50", "iresnet100"]
    dimension: int = Field(ge=8, le=4096)


class LossParams(StageParams):
    """Margin softmax over the identities of the train split."""

    kind: Literal["arcface", "cosface", "combined"]
    margin: float = Field(ge=0, lt=1.5)
    combined_margins: list[float] = Field(min_length=3, max_length=3)
    scale: float = Field(gt=0, le=256)
    sub_centres: int = Field(ge=1, le=16)
    sample_rate: float = Field(gt=0, le=1)
    interclass_filter: float | None = Field(gt=0, le=1)
    label_confidence: bool
    hard_sets: list[str]  # folders that `faceloop mine` made
    hard_weight: float = Field(ge=1, le=100)

    @property
    def is_weighted(self) -> bool:
        return self.label_confidence or bool(self.hard_sets)


class ExtraLossParams(StageParams):
    """Losses beside the classifier's; weight 0 leaves one out."""

    triplet_weight: _Weight
    triplet_mining: Literal["batch_hard", "semi_hard", "distance_weighted"]
    triplet_margin: float = Field(gt=0, le=2)
    centre_weight: _Weight
    distil_weight: _Weight
    distil_relations_weight: _Weight
    teacher: str | None

    @model_validator(mode="after")
    def _teacher_named(self) -> "ExtraLossParams":
        if (self.distil_weight or self.distil_relations_weight) and self.teacher is None:
            raise ValueError("distillation needs a teacher: name a pack, or set both distil weights to 0")
        return self


class OptimiserParams(StageParams):
    kind: Literal["sgd", "adamw", "lamb"]
    learning_rate: float = Field(gt=0, le=10)
    centres_rate: float = Field(gt=0, le=1000)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1)
    clip_norm: float | None = Field(gt=0)


class ScheduleParams(StageParams):
    epochs: int = Field(ge=1, le=10_000)
    warm_up_share: float = Field(ge=0, le=0.9)
    final_rate: _Share
    patience: int = Field(ge=0)


class SamplerParams(StageParams):
    kind: Literal["shuffled", "balanced", "pxk"]
    samples_per_identity: int = Field(ge=2, le=64)
    buffer_samples: int | None = Field(ge=1)


class TrainParams(StageParams):
    """One training; params.yaml says what each key means."""

    seed: int = Field(ge=0, lt=2**31)
    start: str = Field(min_length=1)
    accept_licence: Literal["non-commercial"] | None
    carry_optimiser: bool
    architecture: ArchitectureParams
    freeze_batchnorm: bool
    blend: _Share
    loss: LossParams
    extras: ExtraLossParams
    optimiser: OptimiserParams
    schedule: ScheduleParams
    sampler: SamplerParams
    augmentation: str
    batch_size: int = Field(ge=2, le=1_000_000)
    accumulate: int = Field(ge=1, le=1024)
    amp: Literal["off", "bf16", "fp16"]
    device: Literal["auto", "cpu", "cuda"]
    nodes: int = Field(ge=1, le=1024)
    ranks: int = Field(ge=1, le=1024)
    workers: int = Field(ge=0, le=256)
    keep_decoded_gib: float = Field(ge=0, le=65_536)
    checkpoint_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _whole_parts(self) -> "TrainParams":
        parts = self.nodes * self.ranks * self.accumulate
        if self.batch_size % parts:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of ranks × accumulate × nodes = {parts}")
        if self.blend < 1 and self.start == SCRATCH:
            raise ValueError(
                "blend goes back towards the start, and scratch is none: set it to 1, or start from a pack"
            )
        if self.extras.triplet_weight and self.sampler.kind != "pxk":
            raise ValueError("the triplet loss needs several samples of an identity: set sampler.kind to pxk")
        if self.sampler.kind == "pxk" and self.batch_size // parts % self.sampler.samples_per_identity:
            raise ValueError(
                f"the {self.batch_size // parts} samples of a part must hold whole identities of "
                f"sampler.samples_per_identity = {self.sampler.samples_per_identity}: change one of them"
            )
        return self

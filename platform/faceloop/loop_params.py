"""Section `loop` of params.yaml: when a scheduler does what. No stage reads it, so it changes no result."""

from pydantic import Field

from faceloop.params import StageParams


class DueParams(StageParams):
    """After any of these since the last release, another is due."""

    faces: int = Field(ge=1)
    decisions: int = Field(ge=1)
    days: float = Field(gt=0)


class GateParams(StageParams):
    """What a release must have before anybody is asked to approve it."""

    identities: int = Field(ge=1)
    samples: int = Field(ge=1)
    purity: float = Field(ge=0, le=1)


class ModelGateParams(StageParams):
    """What speaks against a model. Floors of slices stand in `evaluate.floors`, beside what they are measured by."""

    needs_gain: bool
    allowed_loss: float = Field(ge=0, le=1)
    allowed_slice_loss: float = Field(ge=0, le=1)
    max_latency_ratio: float | None = Field(gt=0)  # candidate's time over the current model's; None: not judged


class CheckParams(StageParams):
    """Where data-quality checks fail."""

    rejected_share: float = Field(ge=0, le=1)
    quality_drift: float = Field(ge=0)
    embedding_drift: float = Field(ge=0, le=2)
    largest_identity_share: float = Field(ge=0, le=1)


class LoopParams(StageParams):
    lease_s: float = Field(gt=0, le=86_400)
    settle_s: float = Field(ge=0)
    settle_at_most_s: float = Field(ge=0)
    most_tasks: int = Field(ge=1, le=200)
    task_footage_mb: float = Field(gt=0)
    due: DueParams
    gate: GateParams
    model_gate: ModelGateParams
    checks: CheckParams
    parameter_sets: dict[str, list[str]]

"""What an export is asked to make: the section `export` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceloop.export.engines import Form, Target
from faceloop.params import StageParams
from faceloop.vision.contract import Precision
from facestore.records import Split

PruningScope = Literal["global", "layer"]


class Gate(StageParams):
    """What a form must keep. Cosines are of a face's two vectors; drift is of cosines between two faces."""

    cosine_mean: float = Field(ge=-1, le=1)
    cosine_p01: float = Field(ge=-1, le=1)  # of 100 faces, 99 are at least so near
    cosine_min: float = Field(ge=-1, le=1)
    drift_mean: float = Field(ge=0, le=2)
    tar_drop: float = Field(ge=0, le=1)
    f_drop: float = Field(ge=0, le=1)


class Profile(StageParams):
    """Batch sizes that an engine is made for: takes min to max, is fastest at opt."""

    min: int = Field(ge=1)
    opt: int = Field(ge=1)
    max: int = Field(ge=1, le=4096)

    @model_validator(mode="after")
    def _in_order(self) -> "Profile":
        if not self.min <= self.opt <= self.max:
            raise ValueError("needs min <= opt <= max")
        return self


class Calibration(StageParams):
    """Faces that int8's scales are taken from: `count`, evenly from `strata` bands of quality, of one split."""

    split: Split
    count: int = Field(ge=1)
    strata: int = Field(ge=1)
    float_layers: int = Field(ge=0)  # first layers with weights that stay in float


class Pruning(StageParams):
    """Shares that go, in [0, 1): of all weights, and of the channels of each layer that can lose some."""

    weights: float = Field(ge=0, lt=1)
    scope: PruningScope
    channels: float = Field(ge=0, lt=1)
    student_channels: float = Field(gt=0, lt=1)  # of the student that becomes `distilled`


class Recovery(StageParams):
    """How a smaller form learns the candidate's embeddings again, from crops of `calibration.split` without labels."""

    crops: int = Field(ge=1)
    batch_size: int = Field(ge=2, le=4096)
    learning_rate: float = Field(gt=0, le=1)  # Adam's
    augmentation: str  # as train.augmentation
    steps: dict[Literal["pruned", "channels", "distilled"], Annotated[int, Field(ge=0, le=10_000_000)]]  # 0: none


class Comparison(StageParams):
    """Faces on which a form must be on a par with float32, evenly from `strata` bands of quality."""

    splits: list[Split] = Field(min_length=1)
    count: int = Field(ge=2, le=4000)
    strata: int = Field(ge=1)
    far: float = Field(gt=0, lt=0.5)
    least_false_accepts: int = Field(ge=1)


class TensorRt(StageParams):
    """How TensorRT engines are built; `capabilities` such as sm86, empty: the library's choice or the GPU here."""

    profile: Profile
    capabilities: list[str]
    optimisation_level: int = Field(ge=0, le=5)
    workspace_mb: int = Field(ge=16)
    timing_cache: str | None


class Triton(StageParams):
    """The model repository that goes with an export: which form it serves, and how requests are put together."""

    form: Form
    detector: str  # a model pack with a YuNet
    long_side_px: int = Field(ge=32)
    min_score: float = Field(ge=0, le=1)
    max_iou: float = Field(ge=0, le=1)
    max_faces: int = Field(ge=1)
    largest_batch: int = Field(ge=1)
    preferred_batches: list[int]
    max_wait_us: int = Field(ge=0)
    cpu_instances: int = Field(ge=0)
    gpu_instances: int = Field(ge=0)


class ExportParams(StageParams):
    seed: int
    accept_licence: Literal["non-commercial"] | None
    forms: list[Form] = Field(min_length=1)
    targets: list[Target] = Field(min_length=1)
    openvino_hints: list[Precision] = Field(min_length=1)
    batch_size: int = Field(ge=1, le=1024)
    probes: int = Field(ge=1, le=256)
    calibration: Calibration
    pruning: Pruning
    recovery: Recovery
    comparison: Comparison
    tensorrt: TensorRt
    triton: Triton | None  # null: no model repository
    gates: dict[Form, Gate]

    @model_validator(mode="after")
    def _complete(self) -> "ExportParams":
        for name in ("forms", "targets", "openvino_hints"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice")
        if self.triton is not None and self.triton.form not in self.forms:
            raise ValueError(f"triton.form is {self.triton.form!r}, which is not among forms")
        without = [form for form in self.forms if form not in self.gates]
        if without:
            raise ValueError(f"gates has no entry for {', '.join(without)}: nothing is shipped without a gate")
        if self.calibration.split in self.comparison.splits:
            raise ValueError("comparison.splits names calibration.split: int8 would be judged on what it was fitted to")
        return self

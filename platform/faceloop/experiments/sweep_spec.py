"""What a sweep tries: a YAML file, checked before anything runs."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from faceloop.params import StageParams, Tree, read_params, section
from facestore.errors import ConfigError
from facestore.ids import JsonValue

VAL_TAR = "val_tar"
_OPTIONAL: dict[str, JsonValue] = {"fixed": [], "is_pruned": True}
_OF_EVALUATION = "release.candidate."


class Range(StageParams):
    """From `low` to `high`, both tried; whole numbers where both are. `log`: evenly by ratio."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log is true")
        return self


class Choices(StageParams):
    choices: list[bool | int | float | str | None] = Field(min_length=2)


class SweepSpec(StageParams):
    """`metric`: `val_tar`, which the trainer measures on the val split, or a figure of `evaluate`, measured on the val
    split only, such as `release.candidate.tar_at_far_0.01`. No metric can be of the test split."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    metric: str
    direction: Literal["maximize", "minimize"]
    seed: int = Field(ge=0, lt=2**31)
    trials: int = Field(ge=1, le=10_000)
    is_pruned: bool
    fixed: list[str]
    space: dict[str, Range | Choices] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_training(self) -> "SweepSpec":
        keys = [*self.space, *(override.partition("=")[0] for override in self.fixed)]
        if wrong := sorted(key for key in keys if not key.startswith("train.")):
            raise ValueError(f"{wrong} are not of the section train")
        if double := sorted(key for key in set(keys) if keys.count(key) > 1):
            raise ValueError(f"{double} are named twice")
        if self.metric != VAL_TAR and not self.metric.startswith(_OF_EVALUATION):
            raise ValueError(f"metric must be {VAL_TAR} or begin with {_OF_EVALUATION}")
        return self


def read_spec(path: Path) -> SweepSpec:
    """Raises ConfigError naming each wrong key."""
    tree: Tree = {**_OPTIONAL, **read_params(path)}
    if unknown := sorted(set(tree) - set(SweepSpec.model_fields)):
        raise ConfigError(f"{path.name} has unknown keys {unknown}; keys are {', '.join(SweepSpec.model_fields)}")
    return section({"sweep": tree}, "sweep", SweepSpec)

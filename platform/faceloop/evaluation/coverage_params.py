"""The section `evaluate.coverage`: into which bands faces fall, and how many each pattern of bands must hold."""

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from faceloop.params import StageParams

Column = Literal["yaw", "pitch", "brightness", "contrast", "occlusion", "quality", "size_px"]
SPLIT_AXIS, SPLITS = "split", ("train", "val", "test")
UNKNOWN, UNLISTED, EVERY = "unknown", "unlisted", "*"


class MeasuredAxis(StageParams):
    """Bands of a column of the faces table, between rising edges. What lies on an edge belongs to the band above."""

    column: Column
    is_absolute: bool  # left and right count alike
    edges: list[float] = Field(min_length=1)

    @model_validator(mode="after")
    def _edges_rise(self) -> "MeasuredAxis":
        if any(low >= high for low, high in pairwise(self.edges)) or (self.is_absolute and self.edges[0] <= 0):
            raise ValueError(f"edges {self.edges} must rise, and begin above 0 where is_absolute")
        return self

    def bands(self) -> tuple[str, ...]:
        """Names from the lowest band to the highest: `0_to_15`, `15_to_30` …, `60_up`."""
        first = f"0_to_{self.edges[0]:g}" if self.is_absolute else f"below_{self.edges[0]:g}"
        return (first, *(f"{low:g}_to_{high:g}" for low, high in pairwise(self.edges)), f"{self.edges[-1]:g}_up")

    def span(self, band: str) -> tuple[float | None, float | None]:
        """Lower and upper edge of a band; None where it is open."""
        place = self.bands().index(band)
        low = self.edges[place - 1] if place else (0.0 if self.is_absolute else None)
        return low, self.edges[place] if place < len(self.edges) else None


class SpokenAxis(StageParams):
    """Bands that people name: the values of an attribute. Another value counts as `unlisted`, no value as `unknown`."""

    attribute: str
    values: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_are_free(self) -> "SpokenAxis":
        if len(set(self.values)) < len(self.values) or set(self.values) & {UNKNOWN, UNLISTED, EVERY}:
            raise ValueError(f"values {self.values} must differ, and none may be {UNKNOWN}, {UNLISTED} or {EVERY}")
        return self


class CoverageFloor(StageParams):
    """What every cell of a pattern must hold. The band `*` stands for each band of its axis, the unknown ones apart."""

    where: dict[str, str] = Field(min_length=1)  # axis → band
    least_samples: int = Field(ge=0)
    least_identities: int = Field(ge=0)


class CoverageParams(StageParams):
    """Axes by name. `split` is always one of them."""

    measured: dict[str, MeasuredAxis]
    spoken: dict[str, SpokenAxis]
    columns: str  # the axis whose bands are the columns of the picture
    floors: list[CoverageFloor]

    @model_validator(mode="after")
    def _names_hold(self) -> "CoverageParams":
        bands = self.bands()
        if len(bands) < 1 + len(self.measured) + len(self.spoken):
            raise ValueError(f"an axis is named twice, or {SPLIT_AXIS!r}, which is there by itself")
        if self.columns not in bands:
            raise ValueError(f"columns = {self.columns!r}: no such axis; axes are {', '.join(bands)}")
        for floor in self.floors:
            for axis, band in floor.where.items():
                if axis not in bands:
                    raise ValueError(f"floor {floor.where}: no axis {axis!r}; axes are {', '.join(bands)}")
                if band != EVERY and band not in bands[axis]:
                    raise ValueError(f"floor {floor.where}: no band {band!r}; {axis} has {', '.join(bands[axis])}")
        return self

    def bands(self) -> dict[str, tuple[str, ...]]:
        """Every axis with its bands, `unknown` last."""
        found: dict[str, tuple[str, ...]] = {SPLIT_AXIS: SPLITS}
        found |= {name: (*axis.bands(), UNKNOWN) for name, axis in self.measured.items()}
        return found | {name: (*axis.values, UNLISTED, UNKNOWN) for name, axis in self.spoken.items()}

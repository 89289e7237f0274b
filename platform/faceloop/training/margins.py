"""Margins of the softmax losses of face recognition, as pure functions of cosines and labels.

One formula holds them all (the combined margin of ArcFace's paper): the cosine c = cos θ of a face to its own
class becomes cos(m₁·θ + m₂) − m₃. A margin makes the own class look farther away than it is, so that training
does not stop when a face is merely on the right side.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from facestore.errors import ConfigError

# 1 − c² below this is rounding: the slope of the angle is infinite at c = ±1, and would make gradients so.
_MIN_SQUARED_SINE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """cos(`multiplier`·θ + `angular_rad`) − `additive` for the own class; the neutral one is the plain softmax.

    `drop_negatives_above`: other classes whose cosine is larger are left out of the sum for that face (the
    inter-class filter of Partial FC: under noisy labels, they are often the same person twice); None keeps all.
    Raises ConfigError for a value that would make the own class look nearer (multiplier < 1, a negative margin)
    or a filter outside (-1, 1].
    """

    multiplier: float = 1.0
    angular_rad: float = 0.0
    additive: float = 0.0
    drop_negatives_above: float | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("multiplier", self.multiplier, 1.0, 4.0),
            ("angular_rad", self.angular_rad, 0.0, math.pi),
            ("additive", self.additive, 0.0, 2.0),
        ):
            if not low <= value <= high:
                raise ConfigError(f"margin's {name} is {value}; set it between {low:g} and {high:.4g}")
        if self.drop_negatives_above is not None and not -1 < self.drop_negatives_above <= 1:
            raise ConfigError(f"drop_negatives_above is {self.drop_negatives_above}; set it in (-1, 1], or to null")

    @classmethod
    def arcface(cls, angular_rad: float = 0.5, *, drop_negatives_above: float | None = None) -> Self:
        """ArcFace (Deng et al. 2019)."""
        return cls(angular_rad=angular_rad, drop_negatives_above=drop_negatives_above)

    @classmethod
    def cosface(cls, additive: float = 0.35, *, drop_negatives_above: float | None = None) -> Self:
        """CosFace (Wang et al. 2018)."""
        return cls(additive=additive, drop_negatives_above=drop_negatives_above)

    @classmethod
    def combined(
        cls, multiplier: float, angular_rad: float, additive: float, *, drop_negatives_above: float | None = None
    ) -> Self:
        """m₁, m₂, m₃ of the combined margin (ArcFace's paper; SphereFace is m₁ alone)."""
        return cls(
            multiplier=multiplier,
            angular_rad=angular_rad,
            additive=additive,
            drop_negatives_above=drop_negatives_above,
        )


def margined(cosines: Tensor, margin: Margin) -> Tensor:
    """Cosines of faces to their own class, any shape, with the margin taken off; the shape stays.

    Never above the input, never rising where it falls, with finite gradients on [-1, 1]. Where the angle passes
    π the cosine would rise again, and a face at its worst be pushed further away: there the curve is continued
    as SphereFace does, (-1)ᵏ·cos − 2k with k = ⌊angle/π⌋, which falls on without a jump.
    """
    if margin.multiplier == 1.0 and margin.angular_rad == 0.0:
        return cosines - margin.additive
    sine = (1.0 - cosines * cosines).clamp_min(_MIN_SQUARED_SINE).sqrt()
    angle = margin.multiplier * torch.atan2(sine, cosines) + margin.angular_rad
    turns = torch.floor(angle.detach() / math.pi)
    sign = 1.0 - 2.0 * torch.remainder(turns, 2.0)
    widened = sign * torch.cos(angle) - 2.0 * turns
    return torch.minimum(widened, cosines) - margin.additive


def with_margin(cosines: Tensor, class_indices: Tensor, margin: Margin) -> Tensor:
    """Cosines (B, C) with the margin taken off at each row's own class; a new tensor.

    `class_indices` (B,) int64: the own column of each row, -1 where it lies on another rank (such a row has
    negatives only). Filtered negatives become -inf, which no softmax counts and no gradient passes.
    """
    rows = torch.nonzero(class_indices >= 0).squeeze(1)
    own = class_indices[rows]
    targets = margined(cosines[rows, own], margin)
    if margin.drop_negatives_above is not None:
        cosines = cosines.masked_fill(cosines.detach() > margin.drop_negatives_above, -math.inf)
    return cosines.index_put((rows, own), targets)


def nearest_subcentre(cosines: Tensor) -> Tensor:
    """Cosines (B, C, K) to K sub-centres of each class, to (B, C): the largest (Deng et al. 2020).

    Faces with a wrong label gather at a sub-centre of their own and leave the main one clean.
    """
    return cosines.max(dim=2).values if cosines.shape[2] > 1 else cosines.squeeze(2)

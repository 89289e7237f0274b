"""What became of unfamiliar pictures, as figures with their counts. AUROC and bounds are explained in unfamiliar.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, rankdata

UInt8Array = NDArray[np.uint8]
GENUINE = "genuine"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnfamiliarSight:
    """One picture and what became of it."""

    kind: str  # of KINDS, or genuine
    crop_rgb: UInt8Array
    det_score: float | None  # None: not detected, or nobody looked
    quality: float  # [0, 1], of the crop as it is
    similarity: float  # cosine to the nearest known person, let in
    is_of_nearest: bool  # it depicts that person
    door_similarity: float | None  # of the crop that the detector's landmarks give; None where the door stayed shut
    is_of_nearest_at_door: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`hits` of `pictures`, and how large the true share may be (Clopper-Pearson, one-sided)."""

    hits: int
    pictures: int
    upper: float  # [0, 1]

    @property
    def share(self) -> float:
        """[0, 1]; 0 of no pictures."""
        return self.hits / self.pictures if self.pictures else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """One kind of picture. Genuine probes are the first kind: what the same door does to real faces."""

    kind: str
    pictures: int
    detected: Share | None  # None: no detector was given
    passed: Share | None  # detected, and of sufficient quality
    false_at_door: Share | None  # passed, and taken for somebody else
    false_let_in: Share
    known_let_in: Share  # taken for the person depicted
    similarity_median: float
    auroc_quality: float | None  # None for the genuine ones, and where there are none
    auroc_similarity: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnfamiliarFigures:
    """Figures of every kind, and the pictures they rest on."""

    threshold: float  # cosine
    people: int  # in the gallery
    kinds: tuple[KindFigures, ...]
    sights: tuple[UnfamiliarSight, ...]


def kind_figures(
    kind: str, sights: Sequence[UnfamiliarSight], has_detector: bool, threshold: float, level: float
) -> KindFigures:
    """Of one kind, at a cosine `threshold`; upper bounds at the confidence `level`."""
    own = [sight for sight in sights if sight.kind == kind]
    genuine = [sight for sight in sights if sight.kind == GENUINE]

    def share(flags: list[bool]) -> Share:
        return Share(hits=sum(flags), pictures=len(flags), upper=upper_bound(sum(flags), len(flags), level))

    false_at_door = [
        sight.door_similarity is not None and sight.door_similarity >= threshold and not sight.is_of_nearest_at_door
        for sight in own
    ]
    is_known = kind == GENUINE
    return KindFigures(
        kind=kind,
        pictures=len(own),
        detected=share([sight.det_score is not None for sight in own]) if has_detector else None,
        passed=share([sight.door_similarity is not None for sight in own]) if has_detector else None,
        false_at_door=share(false_at_door) if has_detector else None,
        false_let_in=share([sight.similarity >= threshold and not sight.is_of_nearest for sight in own]),
        known_let_in=share([sight.similarity >= threshold and sight.is_of_nearest for sight in own]),
        similarity_median=float(np.median([sight.similarity for sight in own])),
        auroc_quality=None if is_known else auroc([one.quality for one in genuine], [one.quality for one in own]),
        auroc_similarity=None
        if is_known
        else auroc([one.similarity for one in genuine], [one.similarity for one in own]),
    )


def auroc(familiar: Sequence[float], unfamiliar: Sequence[float]) -> float | None:
    """Chance that a familiar picture scores higher than an unfamiliar one, ties half; None without one of both."""
    if not len(familiar) or not len(unfamiliar):
        return None
    ranks = rankdata([*familiar, *unfamiliar])
    count = len(familiar)
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * len(unfamiliar)))


def upper_bound(hits: int, pictures: int, confidence_level: float) -> float:
    """Clopper-Pearson, one-sided: 0 hits of 100 are compatible with 3 % at 0.95; 1 of no pictures."""
    return 1.0 if hits == pictures else float(beta.ppf(confidence_level, hits + 1, pictures - hits))

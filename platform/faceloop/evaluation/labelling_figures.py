"""Labelling quality: what is compared, and what comes out of it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.bootstrap import Interval

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Verdict = Literal["better", "worse", "no_difference_shown", "too_few_identities"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldFace:
    """A face whose identity is known, of a release or confirmed by people."""

    face_id: str
    tracklet_id: str
    subset: str
    identity_id: str
    quality: float  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelVectors:
    """What one recogniser makes of the gold faces, in their order."""

    contract_id: str
    vectors: Float32Array  # (n, d) unit norm where valid
    is_valid: BoolArray  # (n,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFigures:
    """How well the platform labels with one recogniser. Ratios in [0, 1], over faces."""

    contract_id: str
    calibration: str  # what strangers were measured on
    impostor_mean: float
    impostor_sd: float
    pairwise_f: float
    pairwise_f_interval: Interval
    bcubed_f: float
    bcubed_f_interval: Interval
    clusters: int
    identities_split: int
    clusters_mixed: int
    labelled_share: float  # of faces: the machine is sure enough, and not alone
    labelled_right: float  # of those: in a cluster most of which is their identity; 1 of none
    questions: int | None  # until target_f; None: not reached with the most that may be asked
    minutes: float | None  # of a person, for them


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Candidate less current, with the interval of the paired bootstrap."""

    value: float
    interval: Interval  # within [-1, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingFigures:
    """The comparison; without sides where it was refused."""

    faces: int
    identities: int
    left_out: int  # faces for which a model gave no vector; they count for neither
    target_f: float
    questions_most: int
    current: SideFigures | None
    candidate: SideFigures | None
    pairwise_f: Difference | None
    bcubed_f: Difference | None
    verdict: Verdict
    said: str  # the verdict as a sentence, with what it rests on

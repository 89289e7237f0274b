"""Records of what is made of releases and vectors: pairs to train on, the rows of a gallery."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class HardPair:
    """One pair of a hard set. The smaller face id stands first."""

    rank: int  # within its kind, from 0
    kind: Literal["hard_positive", "hard_negative"]
    first_face_id: str
    second_face_id: str
    first_identity_id: str  # of a hard positive both are one
    second_identity_id: str
    first_crop_key: str
    second_crop_key: str
    similarity: float  # cosine
    sigmas: float  # the same, in standard deviations above strangers
    support_sigmas: float  # of a positive: of the best witness; of a negative: more like its own identity by so much
    ground: str  # why it is believed: people, track, witness, picture, apart
    review: Literal["people", "machine"]  # who says so


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryVector:
    """The vector of a row of a published gallery, in an encrypted root."""

    row: int
    face_id: str  # whose key seals it: the best face of the row
    embedding: tuple[float, ...]  # float32[dim], unit length

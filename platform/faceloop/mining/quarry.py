"""The quarry: labelled faces with their vectors, and what people said of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration
from faceloop.mining.request import Source

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedFace:
    """What mining needs to know of one face, besides its vector."""

    face_id: str
    tracklet_id: str
    footage_id: str
    pts_ms: int
    subset: str
    quality: float  # [0, 1]
    yaw: float  # degrees, either sign
    size_px: float
    crop_key: str
    identity_id: str
    state: str  # proposed, confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class PeoplesWord:
    """Ties of faces that people hold to be one person, and which ties differ. A face of no tie is nowhere in it."""

    tie_of: Mapping[str, str]  # face → its tie
    name_of: Mapping[str, str]  # tie → the identity that people named
    apart: frozenset[frozenset[str]]  # pairs of ties

    def verdict(self, first: str, second: str) -> bool | None:
        """Whether people say that two faces are one person; None where they did not say."""
        one, other = self.tie_of.get(first), self.tie_of.get(second)
        if one is None or other is None:
            return None
        if one == other:
            return True
        names = {self.name_of.get(one), self.name_of.get(other)} - {None}
        return False if len(names) == 2 or frozenset((one, other)) in self.apart else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a source asks of pairs, beside the filters of the request."""

    source: Source
    is_focus: BoolArray  # (n,) a pair holds one of these at least
    is_barred: BoolArray  # (n,) and none of these, though they bear witness
    wants: Callable[[Int64Array, Int64Array], BoolArray] | None  # of pairs of rows; None: all

    def of(self, first: Int64Array, second: Int64Array) -> BoolArray:
        """Which of these pairs of rows are asked for."""
        found = (self.is_focus[first] | self.is_focus[second]) & ~(self.is_barred[first] | self.is_barred[second])
        if self.wants is not None and found.any():
            found[found] = self.wants(first[found], second[found])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarry:
    """Faces by id, so that no order of the input shows. Codes number equal ids."""

    faces: tuple[MinedFace, ...]  # n
    vectors: Float32Array  # (n, d) unit norm
    tracklet: Int64Array  # (n,)
    moment: Int64Array  # (n,) one picture
    identity: Int64Array  # (n,) 0..i-1
    identity_ids: tuple[str, ...]  # i
    is_wanted: BoolArray  # (n,) the filters of the request hold; the others bear witness only
    calibration: Calibration
    word: PeoplesWord
    narrowing: Narrowing

    def sigmas(self, similarity: Float32Array) -> Float32Array:
        """Cosines as standard deviations above strangers."""
        found: Float32Array = (similarity - np.float32(self.calibration.impostor_mean)) / np.float32(
            self.calibration.impostor_sd
        )
        return found


def make_quarry(
    faces: list[MinedFace],
    vectors: Float32Array,
    is_wanted: list[bool],
    calibration: Calibration,
    word: PeoplesWord,
) -> Quarry:
    """The quarry of these faces, in any order; a vector and whether it is wanted for each."""
    order = sorted(range(len(faces)), key=lambda row: faces[row].face_id)
    known = tuple(faces[row] for row in order)
    identity_ids = tuple(sorted({face.identity_id for face in known}))
    return Quarry(
        faces=known,
        vectors=np.ascontiguousarray(vectors[np.array(order, np.int64)], np.float32),
        tracklet=_codes([face.tracklet_id for face in known]),
        moment=_codes([f"{face.footage_id} {face.pts_ms}" for face in known]),
        identity=_codes([face.identity_id for face in known]),
        identity_ids=identity_ids,
        is_wanted=np.array([is_wanted[row] for row in order], np.bool_),
        calibration=calibration,
        word=word,
        narrowing=Narrowing(
            source="look_alikes",
            is_focus=np.ones(len(known), np.bool_),
            is_barred=np.zeros(len(known), np.bool_),
            wants=None,
        ),
    )


def _codes(names: list[str]) -> Int64Array:
    number = {name: code for code, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], np.int64)

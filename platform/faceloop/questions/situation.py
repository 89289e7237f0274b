"""What questions are made from: nodes with their clusters, who they are said to be, and the faces that can be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.clustered import Clustered

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """An accepted face, as far as questions need it."""

    face_id: str
    footage_id: str
    subset: str
    pts_ms: int
    tracklet_id: str
    quality: float  # [0, 1]
    yaw: float  # degrees
    pitch: float
    occlusion: float  # estimate, [0, 1]
    has_crop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One clustering and what is known about it. Rows are nodes, labels are clusters."""

    given: Clustered
    confidence: Float32Array  # (n,) of each node's label, with the committee's word
    calibration: Calibration
    shots: Sequence[tuple[str, ...]]  # n; faces of the node that can be shown, best first, may be empty
    sight_of: Mapping[str, Sight]
    identity_of_label: Mapping[int, str]
    confirmed: frozenset[str]  # identities of which people confirmed a face
    differing: Mapping[int, float]  # node → share of the committee that differs from its label
    shared_keys: Mapping[tuple[int, int], int]  # pairs of labels, smaller first → keys that both hold
    model_version: str  # names the clustering that questions rest on

    def identity(self, label: int) -> str | None:
        """Of a cluster; None for one that is nobody yet."""
        return self.identity_of_label.get(label)

    def is_confirmed(self, label: int) -> bool:
        """Whether people confirmed the identity of a cluster."""
        return self.identity_of_label.get(label) in self.confirmed

    def best_sight(self, row: int) -> Sight:
        """The face that shows a node; it has one."""
        return self.sight_of[self.shots[row][0]]


def strip_faces(situation: Situation, rows: Sequence[int], size: int) -> tuple[str, ...]:
    """Up to `size` faces of these nodes, one a node in their order, then further ones; the first shows the first node.

    Empty where the first node has no face that can be shown.
    """
    if not rows or not situation.shots[rows[0]]:
        return ()
    shown = [situation.shots[row] for row in rows]
    depth = max(len(faces) for faces in shown)
    in_turn = [faces[place] for place in range(depth) for faces in shown if place < len(faces)]
    return tuple(in_turn[:size])

"""Which faces stand behind which node of the clustering.

A node is a tracklet. Where people said that a tracklet shows two persons, its faces are nodes of their own; a crop that
people called no face leaves its tracklet's template; crops that nearly repeat others do not weigh twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.nodes import Nodes

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_LEAST_SHARE = 0.05  # of its weight that a node keeps when all its crops repeat others


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFace:
    """What the roster needs to know of an accepted face."""

    face_id: str
    footage_id: str
    pts_ms: int
    tracklet_id: str
    quality: float  # [0, 1]
    has_crop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Tracklet templates, one row each."""

    tracklet_ids: tuple[str, ...]
    subsets: tuple[str, ...]
    vectors: Float32Array  # (t, d) unit norm
    weights: Float32Array  # (t,)
    quality: Float32Array  # (t,) in [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceVectors:
    """Vectors of single faces, only of the tracklets that must be looked into."""

    face_ids: tuple[str, ...]
    vectors: Float32Array  # (f, d) unit norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Nodes, and the node of each accepted face; faces without one, and why."""

    nodes: Nodes
    node_of_face: Mapping[str, int]
    left_out: Mapping[str, str]  # face → not_a_face, ignored, no_embedding

    def same_picture(self, faces: Sequence[SeenFace]) -> Int64Array:
        """Pairs of nodes that are seen in one picture, (p, 2) int64 rows, sorted."""
        moments = [(face.footage_id, face.pts_ms) for face in faces]
        return same_picture_pairs(moments, [self.node_of_face.get(face.face_id) for face in faces])


def same_picture_pairs(moments: Sequence[tuple[str, int]], rows: Sequence[int | None]) -> Int64Array:
    """Pairs of nodes that are seen in one picture, (p, 2) int64, sorted: nobody is in one picture twice.

    `moments` are (footage, time) and `rows` the node of each face, None for a face without one.
    """
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for moment, row in zip(moments, rows, strict=True):
        if row is not None:
            seen[moment].add(row)
    pairs = {pair for together in seen.values() for pair in combinations(sorted(together), 2)}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def opened_tracklets(faces: Iterable[SeenFace], left_out: Mapping[str, str], apart: set[str]) -> set[str]:
    """Tracklets whose single vectors are needed: taken apart, or with a face that is left out."""
    return apart | {face.tracklet_id for face in faces if face.face_id in left_out}


def build_roster(
    faces: Sequence[SeenFace],
    templates: Templates,
    vectors: FaceVectors,
    *,
    left_out: Mapping[str, str],
    apart: set[str],
    named: set[str],
    repeats: set[str],
) -> Roster:
    """Nodes from templates. `left_out` maps faces to the reason that people gave, `apart` are tracklets of two persons,
    `named` faces that decisions speak of, `repeats` crops that nearly repeat another, `vectors` the single faces of
    `opened_tracklets`."""
    members: dict[str, list[SeenFace]] = defaultdict(list)
    for face in faces:
        members[face.tracklet_id].append(face)
    row_of_vector = {name: row for row, name in enumerate(vectors.face_ids)}
    built = _Built()
    reasons = dict(left_out)
    for row, tracklet in enumerate(templates.tracklet_ids):
        people = [face for face in members[tracklet] if face.face_id not in left_out]
        embedded = [face for face in people if face.face_id in row_of_vector]
        share = _fresh_share([face for face in people if face.has_crop], repeats)
        subset = templates.subsets[row]
        if tracklet in apart and embedded:
            for owner, vector, group in _taken_apart(people, embedded, named, vectors.vectors, row_of_vector):
                built.add(owner.face_id, vector, owner.quality, owner.quality, subset, group)
        elif len(people) < len(members[tracklet]):
            if not embedded:
                reasons |= {face.face_id: "no_embedding" for face in people}
                continue
            vector, weight = _template(embedded, vectors.vectors, row_of_vector)
            quality = max(face.quality for face in embedded)
            built.add(tracklet, vector, weight * share, quality, subset, people)
        else:
            weight = float(templates.weights[row]) * share
            built.add(tracklet, templates.vectors[row], weight, float(templates.quality[row]), subset, people)
    for face in faces:
        if face.face_id not in built.node_of_face:
            reasons.setdefault(face.face_id, "no_embedding")
    return Roster(nodes=built.nodes(templates.vectors.shape[1]), node_of_face=built.node_of_face, left_out=reasons)


class _Built:
    def __init__(self) -> None:
        self.node_of_face: dict[str, int] = {}
        self._names: list[str] = []
        self._vectors: list[Float32Array] = []
        self._weights: list[float] = []
        self._quality: list[float] = []
        self._subsets: list[str] = []

    def add(
        self, name: str, vector: Float32Array, weight: float, quality: float, subset: str, faces: Iterable[SeenFace]
    ) -> None:
        self.node_of_face |= dict.fromkeys((face.face_id for face in faces), len(self._names))
        self._names.append(name)
        self._vectors.append(vector)
        self._weights.append(max(weight, 1e-6))
        self._quality.append(quality)
        self._subsets.append(subset)

    def nodes(self, dim: int) -> Nodes:
        _, codes = np.unique(np.array(self._subsets, dtype=np.str_), return_inverse=True)
        return Nodes(
            node_ids=tuple(self._names),
            vectors=np.stack(self._vectors) if self._vectors else np.empty((0, dim), np.float32),
            weights=np.array(self._weights, np.float32),
            quality=np.array(self._quality, np.float32),
            subset=codes.astype(np.int32),
        )


def _fresh_share(people: Sequence[SeenFace], repeats: set[str]) -> float:
    """Share of a tracklet's quality that does not repeat another crop."""
    repeated = sum(face.quality for face in people if face.face_id in repeats)
    if repeated <= 0:
        return 1.0
    return max(1 - repeated / sum(face.quality for face in people), _LEAST_SHARE)


def _template(
    embedded: Sequence[SeenFace], vectors: Float32Array, row_of: Mapping[str, int]
) -> tuple[Float32Array, float]:
    weights = np.array([max(face.quality, 1e-6) for face in embedded], np.float32)
    mean = weights @ vectors[[row_of[face.face_id] for face in embedded]]
    template = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return template, float(weights.sum())


def _taken_apart(
    people: Sequence[SeenFace],
    embedded: Sequence[SeenFace],
    named: set[str],
    vectors: Float32Array,
    row_of: Mapping[str, int],
) -> Iterator[tuple[SeenFace, Float32Array, list[SeenFace]]]:
    """(face, its vector, the faces that go with it) for each embedded or named face of a tracklet: a named one without
    a vector takes that of the embedded face nearest in time, and any other face goes with it."""
    embedded_names = {face.face_id for face in embedded}
    near = {face.face_id: _nearest_in_time(face, embedded) for face in people}
    groups: dict[str, list[SeenFace]] = defaultdict(list)
    for face in people:
        is_own = face.face_id in embedded_names or face.face_id in named
        groups[face.face_id if is_own else near[face.face_id].face_id].append(face)
    by_name = {face.face_id: face for face in people}
    for name, group in sorted(groups.items()):
        yield by_name[name], vectors[row_of[near[name].face_id]], group


def _nearest_in_time(face: SeenFace, embedded: Sequence[SeenFace]) -> SeenFace:
    return min(embedded, key=lambda shot: (abs(shot.pts_ms - face.pts_ms), shot.face_id != face.face_id, shot.face_id))

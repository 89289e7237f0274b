"""A small world of people in front of cameras, seen through the platform's own functions, without files or models.

Four people, two of them look-alikes, three tracklets each, one to three faces in a tracklet. Some pictures show two
people. Vectors are noisy enough that clusters are sometimes wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams
from faceloop.clustering.partition import Partition, PartitionParams, partition
from faceloop.identity.evidence import Evidence, node_constraints, tracklets_apart
from faceloop.identity.labels import LEFT_OUT, NOT_CLUSTERED, Sighting
from faceloop.identity.roster import FaceVectors, Roster, SeenFace, Templates, build_roster
from faceloop.vision.keepids import EarlierFaces
from facestore.decisions import Decision
from facestore.ids import tracklet_id

PEOPLE, TRACKLETS = 4, 3
_LIKENESS = 0.5  # cosine between the first two people
_SPREAD = 0.75  # length of the noise on a unit vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Somebody really was there."""

    person: int
    tracklet: int
    footage_id: str
    pts_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFace:
    """A face as a detector found it."""

    seen: SeenFace
    sight: Sight


@cache
def sights() -> tuple[Sight, ...]:
    """Everything that happens. People 0 and 1 share pictures in the first clip, 2 and 3 in the second."""
    found = []
    for person in range(PEOPLE):
        for tracklet in range(TRACKLETS):
            first_ms = 0 if tracklet == person // 2 else 1_000 * (1 + person)
            for shot in range(1 + (person + tracklet) % 3):
                footage_id = f"clip{tracklet}"
                pts_ms = first_ms + 200 * shot
                found.append(Sight(person=person, tracklet=tracklet, footage_id=footage_id, pts_ms=pts_ms))
    return tuple(found)


def detect(
    version: int, hidden: set[int], earlier: Sequence[tuple[DetectedFace, tuple[float, ...]]]
) -> list[tuple[DetectedFace, tuple[float, ...]]]:
    """Faces with their boxes, px. Another `version` of the detector moves boxes a little; `hidden` sights it misses."""
    rng = np.random.default_rng(version)
    moments: dict[tuple[str, int], list[int]] = {}
    for number, sight in enumerate(sights()):
        if number not in hidden:
            moments.setdefault((sight.footage_id, sight.pts_ms), []).append(number)
    by_moment: dict[tuple[str, int], list[tuple[str, NDArray[np.float32]]]] = {}
    for face, box in earlier:
        moment = (face.seen.footage_id, face.seen.pts_ms)
        by_moment.setdefault(moment, []).append((face.seen.face_id, np.array(box, np.float32)))
    known = EarlierFaces(by_moment=by_moment)
    names: dict[int, tuple[str, tuple[float, ...]]] = {}
    for (footage_id, pts_ms), numbers in moments.items():
        left = np.array([150.0 * sights()[number].person for number in numbers])
        corners = np.stack([left, left * 0 + 40, left + 60, left * 0 + 110], axis=1)
        boxes = (corners + rng.uniform(-5, 5, corners.shape)).astype(np.float32)
        ids = known.ids_of(footage_id, pts_ms, boxes, f"detector {version}")
        names |= {n: (name, tuple(box.tolist())) for n, name, box in zip(numbers, ids, boxes, strict=True)}
    first: dict[tuple[int, int], str] = {}
    for number in sorted(names, key=lambda number: sights()[number].pts_ms):
        first.setdefault((sights()[number].person, sights()[number].tracklet), names[number][0])
    return [(_face(number, names[number][0], first), names[number][1]) for number in sorted(names)]


def _face(number: int, name: str, first: dict[tuple[int, int], str]) -> DetectedFace:
    sight = sights()[number]
    seen = SeenFace(
        face_id=name,
        footage_id=sight.footage_id,
        pts_ms=sight.pts_ms,
        tracklet_id=tracklet_id(first[sight.person, sight.tracklet]),
        quality=0.6 + 0.3 * ((7 * number) % 10) / 10,
        has_crop=True,
    )
    return DetectedFace(seen=seen, sight=sight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """Vectors of faces: another seed or dim is another embedding contract."""

    seed: int
    dim: int

    def vectors(self, faces: Sequence[DetectedFace]) -> NDArray[np.float32]:
        """Unit vectors (n, dim) f32, the same for the same sight whatever else is there."""
        axes = np.eye(PEOPLE, self.dim)
        axes[1] = _LIKENESS * axes[0] + np.sqrt(1 - _LIKENESS**2) * axes[1]
        noise = np.random.default_rng(self.seed).standard_normal((len(sights()), self.dim)) / np.sqrt(self.dim)
        rows = [sights().index(face.sight) for face in faces]
        found = axes[[face.sight.person for face in faces]] + _SPREAD * noise[rows]
        unit: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
        return unit


PARTITION = PartitionParams(
    neighbours=8,
    micro_similarity=0.60,
    within_similarity=0.43,
    across_similarity=0.40,
    attach_similarity=0.27,
    attach_margin=0.05,
    min_quality=0.4,
    full_quality=0.6,
    quality_toll=0.0,
    hubness_share=1.0,
    hubness_similarity=0.31,
    hubness_skipped=2,
    hubness_cohort=20,
    hubness_prior=5,
    confidence_scale=0.05,
    search=SearchParams(flat_rows_max=1_000, probes=1, block_rows=256),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustering:
    """What the cluster stage would publish."""

    roster: Roster
    evidence: Evidence
    result: Partition
    sightings: list[Sighting]


@lru_cache(maxsize=100)
def cluster_faces(
    faces: tuple[DetectedFace, ...],
    recogniser: Recogniser,
    effective: tuple[Decision, ...],
    merged: tuple[tuple[str, str], ...],
) -> Clustering:
    """Roster, constraints and partition, as the cluster stage puts them together. `merged` are aliases."""
    aliases = dict(merged)
    seen = [face.seen for face in faces]
    vectors = recogniser.vectors(faces)
    verbs = {"not_a_face": "not_a_face", "ignore": "ignored"}
    names = {face.face_id for face in seen}
    left_out = {said.face_id: verbs[said.verb] for said in effective if said.verb in verbs and said.face_id in names}
    tracklet_of = {face.face_id: face.tracklet_id for face in seen}
    named = {end for said in effective for end in (said.face_id, said.other_face_id) if end is not None}
    roster = build_roster(
        seen,
        _templates(seen, vectors),
        FaceVectors(face_ids=tuple(face.face_id for face in seen), vectors=vectors),
        left_out={face: reason for face, reason in left_out.items() if face is not None},
        apart=tracklets_apart(effective, aliases, tracklet_of),
        named=named,
        repeats=set(),
    )
    evidence = node_constraints(
        effective,
        aliases=aliases,
        node_of_face=roster.node_of_face,
        same_picture=roster.same_picture(seen),
        vectors=roster.nodes.vectors,
    )
    result = partition(nodes=roster.nodes, constraints=evidence.constraints, params=PARTITION)
    return Clustering(
        roster=roster, evidence=evidence, result=result, sightings=[_sighting(face, roster, result) for face in seen]
    )


def _sighting(face: SeenFace, roster: Roster, result: Partition) -> Sighting:
    node = roster.node_of_face.get(face.face_id)
    return Sighting(
        face_id=face.face_id,
        tracklet_id=face.tracklet_id,
        footage_id=face.footage_id,
        pts_ms=face.pts_ms,
        subset=face.footage_id,
        quality=face.quality,
        cluster_id=NOT_CLUSTERED if node is None else int(result.labels[node]),
        confidence=0.0 if node is None else float(result.confidence[node]),
        status=LEFT_OUT if node is None else "clustered",
    )


def _templates(seen: Sequence[SeenFace], vectors: NDArray[np.float32]) -> Templates:
    rows: dict[str, list[int]] = {}
    for row, face in enumerate(seen):
        rows.setdefault(face.tracklet_id, []).append(row)
    means = np.stack([vectors[members].mean(axis=0) for members in rows.values()])
    return Templates(
        tracklet_ids=tuple(rows),
        subsets=tuple(seen[members[0]].footage_id for members in rows.values()),
        vectors=(means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32),
        weights=np.array([sum(seen[row].quality for row in members) for members in rows.values()], np.float32),
        quality=np.array([max(seen[row].quality for row in members) for members in rows.values()], np.float32),
    )

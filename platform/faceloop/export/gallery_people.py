"""Which vectors stand for a person in a published gallery: the mean of all faces, and the looks most unlike it.

One mean forgives a wrong label; further looks find a profile that the mean does not resemble. Looks are means of
tracklets, chosen farthest first (Gonzalez, Theoretical Computer Science 1985) among those good enough to be seen.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceloop.vision.arrays import Float32Array

_MIN_NORM = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFace:
    """A labelled face that may be published."""

    face_id: str
    tracklet_id: str
    identity_id: str
    quality: float  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRow:
    """One row of the index."""

    row: int
    identity_id: str
    kind: Literal["mean", "look"]
    faces: int
    quality: float  # best among its faces, [0, 1]
    best_face_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryMember:
    """A face that went into a row: what a withdrawal of consent must be able to find."""

    row: int
    face_id: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Templates:
    """Rows by identity, the mean first; `vectors` float32 (rows, dimension), unit length."""

    rows: tuple[GalleryRow, ...]
    members: tuple[GalleryMember, ...]
    vectors: Float32Array
    left_out: Counter[str]


def choose_templates(
    faces: Sequence[KnownFace], vectors: Float32Array, *, most: int, min_faces: int, min_quality: float
) -> Templates:
    """At most `most` ≥ 1 rows a person. `vectors` (n, d) f32 are those of `faces`, unit length; their order is nothing.

    People of fewer than `min_faces` faces of `min_quality` are left out, and counted.
    """
    left_out = Counter[str]()
    of_person: dict[str, list[int]] = defaultdict(list)
    for place in sorted(range(len(faces)), key=lambda place: faces[place].face_id):
        if faces[place].quality < min_quality:
            left_out["faces_low_quality"] += 1
        else:
            of_person[faces[place].identity_id].append(place)
    rows: list[GalleryRow] = []
    members: list[GalleryMember] = []
    found: list[Float32Array] = []
    for identity, places in sorted(of_person.items()):
        if len(places) < min_faces:
            left_out["identities_few_faces"] += 1
            continue
        groups = _groups(places, faces, vectors, most)
        if not groups:
            left_out["identities_without_direction"] += 1
        for kind, group, vector in groups:
            best = min(group, key=lambda place: (-faces[place].quality, faces[place].face_id))
            rows.append(
                GalleryRow(
                    row=len(rows),
                    identity_id=identity,
                    kind="mean" if kind == 0 else "look",
                    faces=len(group),
                    quality=faces[best].quality,
                    best_face_id=faces[best].face_id,
                )
            )
            members += [GalleryMember(row=len(rows) - 1, face_id=faces[place].face_id) for place in group]
            found.append(vector)
    stacked = np.stack(found) if found else np.empty((0, vectors.shape[1]), np.float32)
    return Templates(rows=tuple(rows), members=tuple(members), vectors=stacked, left_out=left_out)


def _groups(
    places: list[int], faces: Sequence[KnownFace], vectors: Float32Array, most: int
) -> list[tuple[int, list[int], Float32Array]]:
    """The mean of all, then looks, farthest first: number, the faces in it, its unit vector."""
    tracklets: dict[str, list[int]] = defaultdict(list)
    for place in places:
        tracklets[faces[place].tracklet_id].append(place)
    mean = _mean(places, faces, vectors)
    if mean is None:
        return []
    chosen = [(0, places, mean)]
    waiting = [
        (group, vector)
        for _, group in sorted(tracklets.items())
        if len(tracklets) > 1 and (vector := _mean(group, faces, vectors)) is not None
    ]
    while waiting and len(chosen) < most:
        nearest = [max(float(vector @ taken) for _, _, taken in chosen) for _, vector in waiting]
        group, vector = waiting.pop(int(np.argmin(nearest)))
        chosen.append((len(chosen), group, vector))
    return chosen


def _mean(places: list[int], faces: Sequence[KnownFace], vectors: Float32Array) -> Float32Array | None:
    """Quality-weighted, unit length; None where the faces cancel out."""
    weights = np.array([max(faces[place].quality, 1e-3) for place in places], np.float64)
    total = (weights[:, None] * vectors[places].astype(np.float64)).sum(axis=0)
    norm = float(np.linalg.norm(total))
    return np.asarray(total / norm, np.float32) if norm > _MIN_NORM * weights.sum() else None

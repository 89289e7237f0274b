"""Faces gathered by tracklet until it ends; then its best shots are chosen and its faces get their final records.

Memory is bounded: a tracklet keeps a small pool of crops, and is closed after `max_tracklet_s`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from faceloop.vision.arrays import UInt8Array
from faceloop.vision.bestshot import best_shots
from facestore.ids import tracklet_id
from facestore.records import Face

_POOL_TIMES = 4  # crops kept while a tracklet runs, per best shot wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """Pictures of one face: the aligned crop and the wider one, RGB uint8."""

    aligned_rgb: UInt8Array
    context_rgb: UInt8Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedTracklet:
    """Final records of a tracklet, in order of time, and the shots of its best ones."""

    faces: list[Face]
    shots: dict[str, Shot]


@dataclass(slots=True)
class _Open:
    faces: list[Face] = field(default_factory=list)
    pool: dict[str, Shot] = field(default_factory=dict)


class TrackletBook:
    """Open tracklets of one footage. `batch` prefixes crop keys."""

    def __init__(self, *, batch: str, best_shot_count: int, max_tracklet_s: float) -> None:
        self._batch = batch
        self._count = best_shot_count
        self._max_ms = 1000 * max_tracklet_s
        self._open: dict[int, _Open] = {}

    def add(self, number: int, face: Face, shot: Shot | None) -> Iterator[ClosedTracklet]:
        """File a face under its tracklet; `shot` is None for a rejected face. Yields a tracklet that grew too long."""
        current = self._open.setdefault(number, _Open())
        if current.faces and face.pts_ms - current.faces[0].pts_ms > self._max_ms:
            yield self._close(number)
            current = self._open.setdefault(number, _Open())
        current.faces.append(face)
        if shot is not None:
            current.pool[face.face_id] = shot
            if len(current.pool) > _POOL_TIMES * self._count:
                kept = self._best(current, _POOL_TIMES * self._count // 2)
                current.pool = {name: current.pool[name] for name in kept}

    def close_all_but(self, live: set[int]) -> Iterator[ClosedTracklet]:
        """Close the tracklets that the tracker no longer follows, oldest first."""
        for number in sorted(set(self._open) - live):
            yield self._close(number)

    def _best(self, current: _Open, count: int) -> list[str]:
        rows = [face for face in current.faces if face.face_id in current.pool]
        chosen = best_shots(
            np.array([face.quality for face in rows], dtype=np.float64),
            np.array([face.yaw for face in rows], dtype=np.float64),
            np.array([face.pitch for face in rows], dtype=np.float64),
            np.array([face.pts_ms / 1000 for face in rows], dtype=np.float64),
            count,
        )
        return [rows[row].face_id for row in chosen]

    def _close(self, number: int) -> ClosedTracklet:
        current = self._open.pop(number)
        name = tracklet_id(current.faces[0].face_id)
        best = set(self._best(current, self._count)) if current.pool else set()
        faces = [
            replace(
                face,
                tracklet_id=name,
                is_best_shot=face.face_id in best,
                crop_key=f"{self._batch}/{face.face_id}" if face.face_id in best else None,
            )
            for face in current.faces
        ]
        return ClosedTracklet(faces=faces, shots={key: shot for key, shot in current.pool.items() if key in best})

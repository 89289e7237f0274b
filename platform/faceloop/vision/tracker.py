"""Detections to tracklets: one face followed through one scene of one footage.

Tracking by detection (as SORT, Bewley et al. 2016): boxes move on at their last velocity and are matched by overlap
with the Hungarian method; boxes are widened first, because at a few looks a second a walking face leaves its own box
(buffered IoU: Yang et al., Hard to Track Objects with Irregular Motions, WACV 2023). It prefers to break a tracklet
over joining two people: what is broken, clustering rejoins.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceloop.boxes import pairwise_iou

Float32Array = npt.NDArray[np.float32]

_SIZE_RATIO = 1.7  # a face does not grow faster between two looks
_AMBIGUOUS = 0.75  # a second candidate with this share of the best affinity makes a match ambiguous
_VELOCITY_SMOOTHING = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerParams:
    max_gap_s: float
    min_overlap: float  # IoU of the widened boxes, (0, 1]
    buffer: float  # by which a box is widened on every side, in box sizes, ≥ 0


@dataclass(slots=True)
class _Track:
    number: int
    box: npt.NDArray[np.float64]
    velocity_px_s: npt.NDArray[np.float64]
    seen_ms: int


class Tracker:
    """Numbers the tracklets of one footage: 0, 1, 2 … A number is never used again."""

    def __init__(self, params: TrackerParams) -> None:
        self._params = params
        self._live: list[_Track] = []
        self._numbers = 0
        self._looked_ms = 0

    @property
    def live(self) -> set[int]:
        """Numbers that may still be given to a box."""
        return {track.number for track in self._live}

    def cut(self) -> None:
        """A scene ends: nothing before it is followed on."""
        self._live.clear()

    def hold(self, pts_ms: int) -> None:
        """The last picture stood still until this time: nobody who was in it left it."""
        for track in self._live:
            if track.seen_ms == self._looked_ms:
                track.seen_ms, track.velocity_px_s = pts_ms, np.zeros(4)
        self._looked_ms = pts_ms

    def update(self, pts_ms: int, boxes_px: Float32Array) -> list[int]:
        """The tracklet number of each box (n, 4) of one picture. Pictures come in order of time."""
        self._looked_ms = pts_ms
        gap_ms = 1000 * self._params.max_gap_s
        self._live = [track for track in self._live if pts_ms - track.seen_ms <= gap_ms]
        numbers = [-1] * len(boxes_px)
        for row, column in self._matches(pts_ms, boxes_px):
            track = self._live[row]
            self._follow(track, pts_ms, boxes_px[column].astype(np.float64))
            numbers[column] = track.number
        for column, number in enumerate(numbers):
            if number < 0:
                box = boxes_px[column].astype(np.float64)
                self._live.append(_Track(self._numbers, box, np.zeros(4), pts_ms))
                numbers[column] = self._numbers
                self._numbers += 1
        return numbers

    def _follow(self, track: _Track, pts_ms: int, box: npt.NDArray[np.float64]) -> None:
        seconds = max(pts_ms - track.seen_ms, 1) / 1000
        velocity = (box - track.box) / seconds
        track.velocity_px_s = _VELOCITY_SMOOTHING * velocity + (1 - _VELOCITY_SMOOTHING) * track.velocity_px_s
        track.box, track.seen_ms = box, pts_ms

    def _matches(self, pts_ms: int, boxes_px: Float32Array) -> list[tuple[int, int]]:
        if not self._live or not len(boxes_px):
            return []
        still = np.stack([track.box for track in self._live]).astype(np.float32)
        moved = np.stack(
            [track.box + track.velocity_px_s * (pts_ms - track.seen_ms) / 1000 for track in self._live]
        ).astype(np.float32)
        found = _widened(boxes_px, self._params.buffer)
        affinity = np.maximum(
            pairwise_iou(_widened(moved, self._params.buffer), found),
            pairwise_iou(_widened(still, self._params.buffer), found),
        )
        size = np.sqrt(np.maximum(_areas(boxes_px), 1e-9))[None, :] / np.sqrt(np.maximum(_areas(still), 1e-9))[:, None]
        affinity[(size > _SIZE_RATIO) | (size < 1 / _SIZE_RATIO) | (affinity < self._params.min_overlap)] = 0.0
        from scipy.optimize import linear_sum_assignment  # late: a third of a second, and only detection asks

        rows, columns = linear_sum_assignment(-affinity)
        return [
            (int(row), int(column))
            for row, column in zip(rows, columns, strict=True)
            if affinity[row, column] > 0 and not _is_ambiguous(affinity, row, column)
        ]


def _widened(boxes: Float32Array, buffer: float) -> Float32Array:
    sides = (boxes[:, 2:] - boxes[:, :2]) * np.float32(buffer)
    return np.concatenate([boxes[:, :2] - sides, boxes[:, 2:] + sides], axis=1)


def _areas(boxes: Float32Array) -> npt.NDArray[np.float64]:
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1])


def _is_ambiguous(affinity: npt.NDArray[np.float64], row: int, column: int) -> bool:
    """Whether another box or another track fits this match nearly as well."""
    best = affinity[row, column]
    others = np.concatenate([np.delete(affinity[row], column), np.delete(affinity[:, column], row)])
    return bool(len(others) and others.max() > _AMBIGUOUS * best)

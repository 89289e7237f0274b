"""Which frames are worth a look: a target rate, no repeats of a still picture, and where the scene is cut.

Works on thumbnails only, so that full frames are converted for the few that are kept.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Thumbnail = npt.NDArray[np.uint8]  # (36, 64, 3) RGB

THUMBNAIL_WIDTH_PX, THUMBNAIL_HEIGHT_PX = 64, 36
_LEVELS = 256
_BINS = 16
_BIN_SHIFT = 4  # 256 levels to 16 bins
_QUADRANTS = [(rows, columns) for rows in (slice(0, 18), slice(18, 36)) for columns in (slice(0, 32), slice(32, 64))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    sample_fps: float
    cut_threshold: float  # `scene_distance` above which two pictures belong to different scenes, [0, 1]
    duplicate_threshold: float  # `largest_change` below which a picture repeats the last one kept, [0, 1]
    max_still_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    is_kept: bool
    is_cut: bool  # between this picture and the last one kept


def histogram_distance(first: Thumbnail, second: Thumbnail) -> float:
    """Mean half-L1 distance of colour histograms (16 bins a channel) over the four quadrants, [0, 1]."""
    distances = []
    for rows, columns in _QUADRANTS:
        a, b = first[rows, columns], second[rows, columns]
        for channel in range(3):
            counts_a = np.bincount(a[..., channel].ravel() >> _BIN_SHIFT, minlength=_BINS)
            counts_b = np.bincount(b[..., channel].ravel() >> _BIN_SHIFT, minlength=_BINS)
            distances.append(float(np.abs(counts_a - counts_b).sum()) / (2 * a[..., channel].size))
    return float(np.mean(distances))


def correlation(first: Thumbnail, second: Thumbnail) -> float:
    """Pearson correlation of the lumas, [-1, 1]; 1 where a picture has no contrast. Blind to light changes."""
    a, b = first.mean(axis=2).ravel(), second.mean(axis=2).ravel()
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return min(max(float(a @ b) / norm, -1.0), 1.0) if norm > 1e-6 else 1.0


def scene_distance(first: Thumbnail, second: Thumbnail) -> float:
    """Mean of histogram distance and of what layouts lack in correlation: motion changes one, a cut both. [0, 1]."""
    return 0.5 * histogram_distance(first, second) + 0.5 * (1.0 - max(correlation(first, second), 0.0))


def largest_change(first: Thumbnail, second: Thumbnail) -> float:
    """Largest change of any thumbnail cell, [0, 1]: a small face that moves in a still picture is seen."""
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean(axis=2).max()) / (_LEVELS - 1)


class FrameSelector:
    """Decides frame by frame, in order of time."""

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._due_ms: float | None = None
        self._kept: Thumbnail | None = None
        self._kept_ms = 0

    def is_due(self, pts_ms: int) -> bool:
        """Whether the target rate asks for a look at this time. Gaps in time do not make up for lost looks."""
        if self._due_ms is None or pts_ms >= self._due_ms:
            step_ms = 1000.0 / self._params.sample_fps
            on_grid = self._due_ms is not None and pts_ms < self._due_ms + step_ms
            self._due_ms = (self._due_ms if on_grid and self._due_ms is not None else pts_ms) + step_ms
            return True
        return False

    def choose(self, pts_ms: int, thumbnail: Thumbnail) -> Choice:
        """Keep or drop a due frame."""
        last = self._kept
        if last is None:
            is_cut, is_repeat = False, False
        else:
            is_cut = scene_distance(last, thumbnail) > self._params.cut_threshold
            is_fresh = pts_ms - self._kept_ms < self._params.max_still_s * 1000
            is_repeat = is_fresh and largest_change(last, thumbnail) < self._params.duplicate_threshold
        if is_repeat:
            return Choice(is_kept=False, is_cut=False)
        self._kept, self._kept_ms = thumbnail, pts_ms
        return Choice(is_kept=True, is_cut=is_cut)

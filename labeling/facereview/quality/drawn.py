"""Boxes and landmarks that several people drew: which of them are alike."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Edges = tuple[float, float, float, float]  # x1, y1, x2, y2 in px of the frame
Drawing = TypeVar("Drawing", bound=tuple[float, ...])


ALIKE_OVERLAP = 0.7  # intersection over union of two boxes that say the same
ALIKE_SHARE = 0.1  # of the points' width, by which two placings that say the same may differ in the mean


def overlap(first: Edges, second: Edges) -> float:
    """Intersection over union, [0, 1]; 0 for boxes without an area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - shared
    return shared / area if area > 0 else 0.0


def distance_px(first: Sequence[float], second: Sequence[float]) -> float:
    """Mean distance of points x1, y1, x2, y2 …; both have equally many, at least one."""
    steps = [a - b for a, b in zip(first, second, strict=True)]
    squares = [x * x + y * y for x, y in zip(steps[::2], steps[1::2], strict=True)]
    return float(sum(square**0.5 for square in squares) / len(squares))


def boxes_alike(first: Edges, second: Edges) -> bool:
    """Nobody draws the same box twice to the pixel."""
    return overlap(first, second) >= ALIKE_OVERLAP


def points_alike(first: Sequence[float], second: Sequence[float]) -> bool:
    """As `boxes_alike`; the larger of the two widths counts."""
    width = max(max(points[::2]) - min(points[::2]) for points in (first, second))
    return distance_px(first, second) <= ALIKE_SHARE * width


def grouped(drawings: Iterable[Drawing], is_alike: Callable[[Drawing, Drawing], bool]) -> dict[Drawing, int]:
    """Number of the group of each drawing, from 0, for any order of them. The first in sorted order that no leader is
    like leads the next group.
    """
    leaders: list[Drawing] = []
    groups = {}
    for drawing in sorted(set(drawings)):
        near = [place for place, leader in enumerate(leaders) if is_alike(leader, drawing)]
        groups[drawing] = near[0] if near else len(leaders)
        if not near:
            leaders.append(drawing)
    return groups

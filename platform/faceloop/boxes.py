"""Geometry of boxes: x1, y1, x2, y2 in px."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pairwise_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes (n, 4) and (m, 4); (n, m) in [0, 1], 0 where a box has no area."""
    a = np.asarray(first, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, dtype=np.float64).reshape(1, -1, 4)
    shared = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(axis=-1)
    areas = [np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1) for boxes in (a, b)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))

"""Questions asked of every group at once: its best row, its median. Cost: one sort of the rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.floating[Any]]


def best_rows(values: FloatArray, group: Int64Array, count: int) -> Int64Array:
    """Row with the largest value in each group, (count,) int64; the smaller row of equals, -1 without rows.

    `values` (n,), `group` (n,) in 0..count-1, or -1 for a row of no group.
    """
    order = np.lexsort((np.arange(len(values)), -values, group))
    order = order[group[order] >= 0]
    best = np.full(count, -1, np.int64)
    names, first = np.unique(group[order], return_index=True)
    best[names] = order[first]
    return best


def group_medians(values: FloatArray, group: Int64Array, count: int) -> NDArray[np.float64]:
    """Median of each group (the mean of the middle two), (count,) f64, nan without rows. `group` as in `best_rows`."""
    order = np.lexsort((values, group))
    order = order[group[order] >= 0]
    names, first, sizes = np.unique(group[order], return_index=True, return_counts=True)
    medians = np.full(count, np.nan)
    lower, upper = order[first + (sizes - 1) // 2], order[first + sizes // 2]
    medians[names] = (values[lower].astype(np.float64) + values[upper]) / 2
    return medians

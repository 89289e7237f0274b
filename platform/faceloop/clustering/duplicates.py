"""Near-duplicates: crops of one subset that show the same moment twice."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, knn_graph

_NEIGHBOURS = 5
_SEARCH = SearchParams(flat_rows_max=20_000, probes=4, block_rows=2048)


def near_duplicates(
    names: Sequence[str], subsets: Sequence[str], vectors: NDArray[np.float32], min_similarity: float
) -> list[tuple[str, str, float]]:
    """(crop, the crop it repeats, cosine), sorted. A crop repeats the one with the smallest name among its likes.

    `vectors` is (n, d) float32, unit norm; only crops of one subset are compared.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(names)), key=lambda row: names[row]):
        rows_of[subsets[row]].append(row)
    pairs = []
    for subset in sorted(rows_of):
        rows = rows_of[subset]
        if len(rows) < 2:
            continue
        neighbours = min(_NEIGHBOURS, len(rows) - 1)
        edges = knn_graph(vectors[rows], neighbours, params=_SEARCH, min_similarity=min_similarity)
        repeated: dict[int, tuple[int, float]] = {}
        for low, high, similarity in zip(
            edges.rows.tolist(), edges.cols.tolist(), edges.similarity.tolist(), strict=True
        ):
            repeated.setdefault(high, (low, similarity))
        pairs += [(names[rows[high]], names[rows[low]], similarity) for high, (low, similarity) in repeated.items()]
    return sorted(pairs)

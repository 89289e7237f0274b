"""Who is compared with whom when the space is divided into cells: the bookkeeping of the search in knn.py."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.compiled import compiled

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Queries that are compared with the base rows of one cell."""

    queries: Int64Array  # (v,) rows of the queries, ascending
    rows: Int64Array  # (r,) rows of the base, ascending


def visits(home: NDArray[np.int32], visited: NDArray[np.int32], cells: int, *, rows_max: int) -> Iterator[Visit]:
    """One visit for each cell that has base rows and queries.

    `home` (n,) is the cell of each base row, `visited` (q, probes) the cells that a query looks into. A cell of
    more than `rows_max` rows (one person, or one blur, seen very often) is cut into pieces of that size and each
    query sees one of them: so the cost stays linear whatever the vectors are.
    """
    probes = visited.shape[1]
    rows_by_cell, row_starts = _sorted_by_cell(home, cells)
    visits_by_cell, visit_starts = _sorted_by_cell(visited.ravel(), cells)
    for cell in range(cells):
        rows = rows_by_cell[row_starts[cell] : row_starts[cell + 1]]
        queries = visits_by_cell[visit_starts[cell] : visit_starts[cell + 1]] // probes
        pieces = -(-len(rows) // rows_max)
        for piece in range(pieces):
            if len(queries[piece::pieces]):
                yield Visit(queries=queries[piece::pieces], rows=rows[piece::pieces])


def _sorted_by_cell(cell_of: NDArray[np.int32], cells: int) -> tuple[Int64Array, Int64Array]:
    """Places by cell, ascending inside one, and where each cell starts, (cells + 1,)."""
    places = np.argsort(cell_of, kind="stable").astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(np.bincount(cell_of, minlength=cells))]).astype(np.int64)
    return places, starts


@compiled
def keep_best(
    index: Int64Array,
    similarity: Float32Array,
    queries: Int64Array,
    rows: Int64Array,
    found: Int64Array,
    found_similarity: Float32Array,
) -> None:
    """Merge what a visit found, (v, j) places in `rows` best first, into the k best so far of its queries, in
    `index` and `similarity` (queries, k), also best first. Equal similarities prefer the smaller row."""
    k = index.shape[1]
    kept_index, kept_similarity = np.empty(k, np.int64), np.empty(k, np.float32)
    for place in range(len(queries)):
        query, old, new = queries[place], 0, 0
        for slot in range(k):
            kept_index[slot], kept_similarity[slot] = index[query, old], similarity[query, old]
            takes_new = False
            if new < found.shape[1]:
                row, score = rows[found[place, new]], found_similarity[place, new]
                takes_new = score > kept_similarity[slot] or (
                    score == kept_similarity[slot] and (kept_index[slot] < 0 or row < kept_index[slot])
                )
            if takes_new:
                kept_index[slot], kept_similarity[slot] = row, score
                new += 1
            else:
                old += 1
        index[query] = kept_index
        similarity[query] = kept_similarity

"""A heap of scored pairs in two arrays, best first: the queue of linkage."""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.compiled import compiled

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@compiled
def _is_better(scores: Float32Array, pairs: Int64Array, one: int, other: int) -> bool:
    """Larger score first, then the smaller pair: equal scores have one order, whatever the order of pushes."""
    if scores[one] != scores[other]:
        return bool(scores[one] > scores[other])
    if pairs[one, 0] != pairs[other, 0]:
        return bool(pairs[one, 0] < pairs[other, 0])
    return bool(pairs[one, 1] < pairs[other, 1])


@compiled
def _swap(scores: Float32Array, pairs: Int64Array, one: int, other: int) -> None:
    score = scores[one]
    scores[one] = scores[other]
    scores[other] = score
    for column in range(pairs.shape[1]):
        value = pairs[one, column]
        pairs[one, column] = pairs[other, column]
        pairs[other, column] = value


@compiled
def push(
    scores: Float32Array, pairs: Int64Array, held: int, score: np.float32, first: int, second: int, stamp: int
) -> int:
    """Add an entry to the `held` ones; there must be room. Returns how many are held now."""
    scores[held] = score
    pairs[held, 0], pairs[held, 1], pairs[held, 2] = first, second, stamp
    place = held
    while place > 0:
        above = (place - 1) // 2
        if not _is_better(scores, pairs, place, above):
            break
        _swap(scores, pairs, place, above)
        place = above
    return held + 1


@compiled
def pop_best(scores: Float32Array, pairs: Int64Array, held: int) -> int:
    """Drop the first entry, the best of the `held` ones (at least 1). Returns how many are held now."""
    held -= 1
    _swap(scores, pairs, 0, held)
    place = 0
    while True:
        better = place
        for below in (2 * place + 1, 2 * place + 2):
            if below < held and _is_better(scores, pairs, below, better):
                better = below
        if better == place:
            return held
        _swap(scores, pairs, place, better)
        place = better

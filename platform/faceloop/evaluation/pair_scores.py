"""The similarities of all pairs, in blocks: counted in fine bins, with the pairs that decide kept one by one.

A similarity is a cosine rounded to steps of 1e-6. So a threshold is a whole number, every rate a ratio of counts,
and 100,000 × 100,000 faces need two histograms of 16 MB and not a matrix of 40 GB.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.compiled import compiled
from faceloop.evaluation.gold import Int64Array
from facestore.errors import DataError

STEPS = 1_000_000  # in a similarity of 1
_BINS = 2 * STEPS + 1
_BLOCK = 1024
Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairList:
    """Pairs of rows with first < second, the most similar first. `stands_for` pairs like it were left out and it."""

    first: Int64Array  # (p,)
    second: Int64Array  # (p,)
    steps: Int64Array  # (p,) similarity in steps
    stands_for: Int64Array  # (p,) >= 1

    def __len__(self) -> int:
        return len(self.steps)

    def chosen(self, is_kept: NDArray[np.bool_]) -> "PairList":
        return PairList(
            first=self.first[is_kept],
            second=self.second[is_kept],
            steps=self.steps[is_kept],
            stands_for=self.stands_for[is_kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairScores:
    """Exact counts by step -STEPS … STEPS, and lists that may be thinned (see `stands_for`)."""

    identity: Int64Array  # (n,) of each row
    genuine_counts: Int64Array  # (2 STEPS + 1,)
    impostor_counts: Int64Array
    genuine: PairList
    impostors: PairList  # the most similar ones

    @property
    def genuine_pairs(self) -> int:
        return int(self.genuine_counts.sum())

    @property
    def impostor_pairs(self) -> int:
        return int(self.impostor_counts.sum())


def score_pairs(
    vectors: Float32Array, identity: Int64Array, occasion: Int64Array, *, largest_far: float, most_listed: int
) -> PairScores:
    """All pairs of vectors (n, d) f32, unit or zero; a genuine pair of one occasion is not counted.

    Impostors are listed down to twice `largest_far`; a list longer than `most_listed` is thinned, its upper half
    excepted, by a fixed rule. Raises DataError for arrays of different lengths or vectors that are not finite.
    """
    if not len(vectors) == len(identity) == len(occasion) or vectors.ndim != 2:
        raise DataError(f"{len(vectors)} vectors, {len(identity)} identities, {len(occasion)} occasions; give one each")
    if not np.isfinite(vectors).all():
        raise DataError("a vector holds NaN or infinity; embed its face again or leave it out")
    genuine_counts, impostor_counts = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for row, column, block in _blocks(vectors):
        _count(block, row, column, identity, occasion, genuine_counts, impostor_counts)
    wanted = min(int(np.ceil(2 * largest_far * impostor_counts.sum())) + 1, int(impostor_counts.sum()))
    impostor_rule = _rule(impostor_counts, wanted, most_listed)
    genuine_rule = _rule(genuine_counts[::-1], int(genuine_counts.sum()), most_listed)
    genuine, impostors = _collect(vectors, identity, occasion, genuine_rule, impostor_rule)
    return PairScores(
        identity=identity,
        genuine_counts=genuine_counts,
        impostor_counts=impostor_counts,
        genuine=genuine,
        impostors=impostors,
    )


def counts_at_least(counts: Int64Array) -> Int64Array:
    """How many scores lie at or above each step, (2 STEPS + 2,): one past the end is the threshold none reaches."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], np.zeros(1, np.int64)])


def _blocks(vectors: Float32Array) -> Iterator[tuple[int, int, Float32Array]]:
    """Row and column of the corner, and the similarities of a block of the upper triangle."""
    for row in range(0, len(vectors), _BLOCK):
        for column in range(row, len(vectors), _BLOCK):
            yield row, column, vectors[row : row + _BLOCK] @ vectors[column : column + _BLOCK].T


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which scores are listed: all from `whole_from` on, one in `keep_one_in` down to `floor`."""

    whole_from: int
    floor: int
    keep_one_in: int


def _rule(counts: Int64Array, wanted: int, most: int) -> _Rule:
    """The `wanted` highest, half of `most` whole and the others thinned to the other half."""
    above = counts_at_least(counts)
    floor = int(np.searchsorted(-above, -wanted, side="right")) - 1  # the highest step with at least `wanted` above
    floor = max(floor, 0)
    if int(above[floor]) <= most:
        return _Rule(floor, floor, 1)
    whole_from = int(np.searchsorted(-above, -(most // 2), side="left"))  # the lowest step with at most half above
    rest = int(above[floor] - above[whole_from])
    return _Rule(whole_from, floor, -(-rest // (most // 2)))


def _collect(
    vectors: Float32Array, identity: Int64Array, occasion: Int64Array, genuine: _Rule, impostor: _Rule
) -> tuple[PairList, PairList]:
    parts: list[NDArray[np.int64]] = []
    room = np.empty((_BLOCK * _BLOCK, 5), np.int64)
    rules = np.array([[rule.whole_from, rule.floor, rule.keep_one_in] for rule in (impostor, genuine)], np.int64)
    for row, column, block in _blocks(vectors):
        if found := _listed(block, row, column, identity, occasion, rules, room):
            parts.append(room[:found].copy())
    rows = np.concatenate(parts) if parts else np.empty((0, 5), np.int64)
    return _as_list(rows[rows[:, 4] == 1]), _as_list(rows[rows[:, 4] == 0])


def _as_list(rows: NDArray[np.int64]) -> PairList:
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0], -rows[:, 2]))]
    return PairList(first=rows[:, 0], second=rows[:, 1], steps=rows[:, 2], stands_for=rows[:, 3])


@compiled
def _count(
    block: Float32Array,
    row: int,
    column: int,
    identity: Int64Array,
    occasion: Int64Array,
    genuine: Int64Array,
    impostor: Int64Array,
) -> None:
    for i in range(block.shape[0]):
        who, look = identity[row + i], occasion[row + i]
        for j in range(max(0, row + i + 1 - column), block.shape[1]):
            # Shifted to be positive, so that the cast rounds to the nearest step.
            step = min(max(int(block[i, j] * 1_000_000.0 + 1_000_000.5), 0), 2_000_000)
            if who != identity[column + j]:
                impostor[step] += 1
            elif look != occasion[column + j]:
                genuine[step] += 1


@compiled
def _listed(
    block: Float32Array,
    row: int,
    column: int,
    identity: Int64Array,
    occasion: Int64Array,
    rules: Int64Array,
    room: NDArray[np.int64],
) -> int:
    """Fill `room` with (first, second, step, stands for, is genuine), by the rules of impostors and genuine pairs."""
    found = 0
    hardly = (rules[0, 1] - 1_000_002) / 1_000_000  # below, no impostor is listed: most pairs end here
    for i in range(block.shape[0]):
        a = row + i
        who = identity[a]
        for j in range(max(0, a + 1 - column), block.shape[1]):
            b = column + j
            is_genuine = 1 if who == identity[b] else 0
            if (is_genuine == 0 and block[i, j] < hardly) or (is_genuine == 1 and occasion[a] == occasion[b]):
                continue
            step = min(max(int(block[i, j] * 1_000_000.0 + 1_000_000.5), 0), 2_000_000)
            rank = 2_000_000 - step if is_genuine == 1 else step  # what decides is the unlike pair of one person
            if rank < rules[is_genuine, 1]:
                continue
            keep_one_in = rules[is_genuine, 2] if rank < rules[is_genuine, 0] else 1
            if ((a * 2_654_435_761 + b * 40_503) >> 7) % keep_one_in != 0:
                continue
            room[found, 0] = a
            room[found, 1] = b
            room[found, 2] = step - 1_000_000
            room[found, 3] = keep_one_in
            room[found, 4] = is_genuine
            found += 1
    return found

"""Average linkage on a neighbour graph, most similar pair first.

A merged cluster is as similar to a third as the average over its parts, so never more than the more similar part:
average linkage is *reducible* (Murtagh 1983, "A survey of recent advances in hierarchical clustering algorithms").
The score that an edge was given earlier is therefore a bound. Edges are taken in order of their bound; a score that
is out of date is worked out anew from the sums and put back: the pair that is merged is always the best one.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.compiled import compiled, dot, root_of
from faceloop.clustering.heap import pop_best, push
from faceloop.clustering.knn import Edges
from faceloop.clustering.ties import Ties

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


def link(clusters: Clusters, edges: Edges, ties: Ties, *, min_similarity: float) -> Int64Array:
    """Merge clusters that an edge joins while their similarity is at least `min_similarity`. Edges carry the inner
    product of the means of `clusters`.

    Clusters of one group in `ties` share a label and may stay apart; a merge unites the groups of both. A merge by
    which a group would hold a pair in `ties.cannot_link` is left out. Returns the new cluster of each given one,
    (c,) int64, numbered by smallest member; `ties.after` gives the new groups. Equal similarities go to the
    smallest numbers, so the outcome depends on the input alone.
    """
    scores = clusters.corrected(edges.rows, edges.cols, edges.similarity)
    # Dropping what falls short is exact: a bound below the threshold never rises above it.
    open_at = np.flatnonzero(scores >= min_similarity)
    open_at = open_at[np.argsort(-scores[open_at], kind="stable")]
    part_of = _independent_parts(edges.rows[open_at], edges.cols[open_at], ties)[edges.rows[open_at]]
    by_part = np.argsort(part_of, kind="stable")
    open_at = open_at[by_part]
    parent = _merge_best_first(
        np.append(np.flatnonzero(np.diff(part_of[by_part])) + 1, len(open_at)),
        edges.rows[open_at],
        edges.cols[open_at],
        scores[open_at],
        clusters.vector_sums.copy(),
        clusters.weights.astype(np.float64),
        clusters.hubness_sums.astype(np.float64),
        ties.group_of,
        ties.cannot_link,
        np.float32(min_similarity),
    )
    is_root = parent == np.arange(len(parent))
    number: Int64Array = np.cumsum(is_root, dtype=np.int64) - 1
    return number[parent]


def _independent_parts(rows: Int64Array, cols: Int64Array, ties: Ties) -> NDArray[np.int32]:
    """Part of each cluster, (c,): no edge and no tie joins two parts. One after the other they fit into the cache."""
    count = len(ties.group_of)
    first_of = np.empty(ties.count, np.int64)
    first_of[ties.group_of[::-1]] = np.arange(count)[::-1]
    one = np.concatenate([rows, np.arange(count), first_of[ties.cannot_link[:, 0]]])
    other = np.concatenate([cols, first_of[ties.group_of], first_of[ties.cannot_link[:, 1]]])
    graph = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(count, count))
    parts: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return parts


@compiled
def _merge_best_first(
    part_ends: Int64Array,
    rows: Int64Array,
    cols: Int64Array,
    scores: Float32Array,
    sums: Float32Array,
    weights: NDArray[np.float64],
    hubness: NDArray[np.float64],
    group_of: Int64Array,
    cannot_link: Int64Array,
    min_similarity: np.float32,
) -> Int64Array:
    """Root (smallest member) of each cluster, (c,). Edges come part by part (`part_ends` (parts,) in edges), inside
    one by falling score. `sums`, `weights` and `hubness` are overwritten."""
    count, dim = sums.shape
    parent = np.arange(count)
    merges = np.zeros(count, np.int64)  # how often a root has grown: tells a score that is out of date
    groups = group_of.max() + 1 if count else 0
    group_parent = np.arange(groups)
    first, last, following, enemy, enemies = _enemy_lists(groups, cannot_link)

    heap_score: Float32Array = np.empty(1024, np.float32)
    heap_pair: Int64Array = np.empty((1024, 3), np.int64)  # first, second, merges of both when scored
    held = 0
    slots = 1
    while slots < 2 * count:
        slots *= 2
    known_pair = np.full((slots, 2), -1, np.int64)  # the pair last scored in each slot: spares most repeats
    known_merges = np.full(slots, -1, np.int64)
    taken = 0
    part = 0
    while taken < len(rows) or held > 0:
        if held == 0 and taken == part_ends[part]:
            part += 1
        if held > 0 and (taken == part_ends[part] or heap_score[0] >= scores[taken]):
            score, one, other, stamp = heap_score[0], heap_pair[0, 0], heap_pair[0, 1], heap_pair[0, 2]
            held = pop_best(heap_score, heap_pair, held)
        else:
            score, one, other, stamp = scores[taken], rows[taken], cols[taken], 0
            taken += 1
        a, b = root_of(parent, one), root_of(parent, other)
        if a == b:
            continue
        if a > b:
            a, b = b, a
        now = merges[a] + merges[b]
        is_current = now == stamp and ((a == one and b == other) or (a == other and b == one))
        if not is_current:
            slot = (a * 2654435761 + b * 40503) & (slots - 1)
            if known_pair[slot, 0] == a and known_pair[slot, 1] == b and known_merges[slot] == now:
                continue
            known_pair[slot, 0], known_pair[slot, 1], known_merges[slot] = a, b, now
            score = np.float32(
                dot(sums[a], sums[b]) / (weights[a] * weights[b]) - hubness[a] / weights[a] - hubness[b] / weights[b]
            )
            if score >= min_similarity:
                if held == len(heap_score):
                    heap_score = np.concatenate((heap_score, np.empty_like(heap_score)))
                    heap_pair = np.concatenate((heap_pair, np.empty_like(heap_pair)))
                held = push(heap_score, heap_pair, held, score, a, b, now)
            continue
        mine, yours = root_of(group_parent, group_of[a]), root_of(group_parent, group_of[b])
        if mine != yours:
            if _are_enemies(mine, yours, group_parent, first, following, enemy, enemies):
                continue
            group_parent[yours] = mine
            enemies[mine] += enemies[yours]
            if first[mine] < 0:
                first[mine], last[mine] = first[yours], last[yours]
            elif first[yours] >= 0:
                following[last[mine]] = first[yours]
                last[mine] = last[yours]
        parent[b] = a
        merges[a] += merges[b] + 1
        weights[a] += weights[b]
        hubness[a] += hubness[b]
        for axis in range(dim):
            sums[a, axis] += sums[b, axis]
    for member in range(count):
        parent[member] = root_of(parent, member)
    return parent


@compiled
def _enemy_lists(
    groups: int, cannot_link: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array, Int64Array]:
    """For each group a linked list of the groups it may not meet: (first, last, following, enemy, length)."""
    first, last = np.full(groups, -1, np.int64), np.full(groups, -1, np.int64)
    following, enemy = np.full(2 * len(cannot_link), -1, np.int64), np.empty(2 * len(cannot_link), np.int64)
    length = np.zeros(groups, np.int64)
    for pair in range(len(cannot_link)):
        for side in range(2):
            entry, group = 2 * pair + side, cannot_link[pair, side]
            enemy[entry] = cannot_link[pair, 1 - side]
            following[entry] = first[group]
            if first[group] < 0:
                last[group] = entry
            first[group] = entry
            length[group] += 1
    return first, last, following, enemy, length


@compiled
def _are_enemies(
    one: int,
    other: int,
    group_parent: Int64Array,
    first: Int64Array,
    following: Int64Array,
    enemy: Int64Array,
    length: Int64Array,
) -> bool:
    if length[one] > length[other]:
        one, other = other, one
    entry = first[one]
    while entry >= 0:
        if root_of(group_parent, enemy[entry]) == other:
            return True
        entry = following[entry]
    return False

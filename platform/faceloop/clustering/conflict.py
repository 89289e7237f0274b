"""Ties that cannot all hold, and the fewest of them that prove it.

A must-link joins two nodes, a cannot-link keeps two apart, and no two *anchors* (say, two named people) may be joined.
A broken rule is proved by one path of must-links between its two ends: without any link of the path, or without the
rule, the rest agrees.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Int64Array = NDArray[np.int64]
Graph = dict[int, dict[int, int]]  # node → neighbour → row of the link
_CHOICES = 16  # broken rules looked at when several forbid the same link


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A minimal set of links that contradict one another."""

    must_rows: tuple[int, ...]  # in the order of the path
    cannot_row: int | None  # None: both ends are anchors
    path: tuple[int, ...]  # nodes, from one end of the broken rule to the other


class AgreeingLinks:
    """Links that agree with one another, grown one at a time. A link that contradicts them is not taken in.

    Near-linear in links: union-find, where every group lists the groups it is kept apart from.
    """

    def __init__(self, anchors: Collection[int] = ()) -> None:
        self._parent: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._anchor: dict[int, int] = {node: node for node in anchors}  # root → the anchor in its group
        self._apart: dict[int, dict[int, list[tuple[int, int, int]]]] = {}  # root → root → cannot-links (a, b, row)
        self._graph: Graph = {}

    def join(self, a: int, b: int, row: int) -> Conflict | None:
        """Take in must-link `row` of nodes a and b, or say what it contradicts."""
        root_a, root_b = self._root(a), self._root(b)
        if root_a != root_b:
            if (conflict := self._against_joining(a, b, root_a, root_b, row)) is not None:
                return conflict
            self._merge(root_a, root_b)
        add_link(self._graph, a, b, row)
        return None

    def part(self, a: int, b: int, row: int) -> Conflict | None:
        """Take in cannot-link `row` of nodes a and b, or say what it contradicts."""
        root_a, root_b = self._root(a), self._root(b)
        if root_a == root_b:
            path = shortest_path(self._graph, a, b)
            return Conflict(must_rows=rows_on(self._graph, path), cannot_row=row, path=path)
        for one, other in ((root_a, root_b), (root_b, root_a)):
            self._apart.setdefault(one, {}).setdefault(other, []).append((a, b, row))
        return None

    def _against_joining(self, a: int, b: int, root_a: int, root_b: int, row: int) -> Conflict | None:
        graph, anchors = self._graph, self._anchor
        found = []
        for end_1, end_2, cannot_row in self._apart.get(root_a, {}).get(root_b, ())[:_CHOICES]:
            near, far = (end_1, end_2) if self._root(end_1) == root_a else (end_2, end_1)
            found.append(_joined(graph, near, a, b, far, row, cannot_row))
        if not found and root_a in anchors and root_b in anchors:
            found.append(_joined(graph, anchors[root_a], a, b, anchors[root_b], row, None))
        return min(found, key=lambda conflict: len(conflict.path), default=None)

    def _root(self, node: int) -> int:
        parent = self._parent
        root = node
        while (above := parent.get(root, root)) != root:
            root = above
        while node != root:
            parent[node], node = root, parent[node]
        return root

    def _merge(self, root_a: int, root_b: int) -> None:
        def weight(root: int) -> tuple[int, int]:
            return self._sizes.get(root, 1) + len(self._apart.get(root, ())), -root

        keep, drop = (root_a, root_b) if weight(root_a) >= weight(root_b) else (root_b, root_a)
        self._parent[drop] = keep
        self._sizes[keep] = self._sizes.get(keep, 1) + self._sizes.pop(drop, 1)
        if drop in self._anchor:
            self._anchor[keep] = self._anchor.pop(drop)
        mine = self._apart.setdefault(keep, {})
        for other, links in self._apart.pop(drop, {}).items():
            theirs = self._apart[other]
            del theirs[drop]
            if other in mine:
                mine[other] = theirs[keep] = [*mine[other], *links]
            else:
                mine[other], theirs[keep] = links, list(links)


def minimal_conflict(must: Int64Array, cannot: Int64Array, n: int) -> list[Conflict]:
    """For every cannot-link (c, 2) int64 that must-links (m, 2) break a shortest proof, in order of `cannot`.

    Both hold rows of 0..n-1, checked by the caller. A proof costs its neighbourhood in the graph, not the graph.
    """
    group_of = link_groups(must, n)
    broken = np.flatnonzero(group_of[cannot[:, 0]] == group_of[cannot[:, 1]])
    is_in_broken = np.zeros(n, bool)
    is_in_broken[group_of[cannot[broken, 0]]] = True
    graph: Graph = {}
    for row in np.flatnonzero(is_in_broken[group_of[must[:, 0]]]).tolist():
        add_link(graph, int(must[row, 0]), int(must[row, 1]), row)
    found = []
    for row in broken.tolist():
        path = shortest_path(graph, int(cannot[row, 0]), int(cannot[row, 1]))
        found.append(Conflict(must_rows=rows_on(graph, path), cannot_row=row, path=path))
    return found


def link_groups(must: Int64Array, n: int) -> NDArray[np.int32]:
    """Number of the group that must-links (m, 2) put each of n nodes in, (n,)."""
    links = coo_array((np.ones(len(must), np.int8), (must[:, 0], must[:, 1])), shape=(n, n))
    groups: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return groups


def add_link(graph: Graph, a: int, b: int, row: int) -> None:
    """Add an undirected link; of several between the same nodes the first stays."""
    graph.setdefault(a, {}).setdefault(b, row)
    graph.setdefault(b, {}).setdefault(a, row)


def shortest_path(graph: Graph, start: int, end: int) -> tuple[int, ...]:
    """Nodes of a shortest path from start to end, both with them; empty where there is none.

    Breadth first from both ends, the smaller front first (Pohl, 1971).
    """
    if start == end:
        return (start,)
    came_from: tuple[dict[int, int], dict[int, int]] = ({start: start}, {end: end})
    fronts = [[start], [end]]
    while all(fronts):
        side = 0 if len(fronts[0]) <= len(fronts[1]) else 1
        mine, theirs = came_from[side], came_from[1 - side]
        ahead = []
        for node in fronts[side]:
            for neighbour in graph.get(node, ()):
                if neighbour in mine:
                    continue
                mine[neighbour] = node
                if neighbour in theirs:
                    first = [*_trace(came_from[0], neighbour)]
                    return (*reversed(first), *list(_trace(came_from[1], neighbour))[1:])
                ahead.append(neighbour)
        fronts[side] = ahead
    return ()


def _trace(came_from: dict[int, int], node: int) -> Iterator[int]:
    yield node
    while (before := came_from[node]) != node:
        node = before
        yield node


def rows_on(graph: Graph, path: tuple[int, ...]) -> tuple[int, ...]:
    """Rows of the links along a path of nodes."""
    return tuple(graph[a][b] for a, b in pairwise(path))


def _joined(graph: Graph, near: int, a: int, b: int, far: int, row: int, cannot_row: int | None) -> Conflict:
    """The conflict of a link a–b that would close the way from near to far."""
    before, after = shortest_path(graph, near, a), shortest_path(graph, b, far)
    rows = (*rows_on(graph, before), row, *rows_on(graph, after))
    return Conflict(must_rows=rows, cannot_row=cannot_row, path=(*before, *after))


def nearest_of(graph: Graph, start: int, wanted: Collection[int]) -> tuple[int, ...]:
    """Nodes of a shortest path from start to the nearest other node of `wanted`; empty where none can be reached."""
    came_from = {start: start}
    front = [start]
    while front:
        ahead = []
        for node in front:
            for neighbour in graph.get(node, ()):
                if neighbour in came_from:
                    continue
                came_from[neighbour] = node
                if neighbour in wanted:
                    return tuple(reversed([*_trace(came_from, neighbour)]))
                ahead.append(neighbour)
        front = ahead
    return ()

"""From what people decided on faces to constraints on the nodes that are clustered.

People are stronger than pictures: nobody is in one picture twice, unless a human `same` or `is` ties the two (a mirror,
a collage). Weaker still are external keys: see `key_ties.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from facestore.decisions import Decision

Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Constraints that can all hold, and what had to give way."""

    constraints: Constraints
    lifted_pictures: Int64Array  # (p, 2) nodes of one picture that people called the same


def pairs_of(
    effective: Iterable[Decision], aliases: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(must-link, cannot-link) pairs of faces. `aliases` maps a merged identity to the one that remains.

    Two faces that `is` ties to two identities differ; one pair for each two identities says so.
    """
    must: list[tuple[str, str]] = []
    cannot: list[tuple[str, str]] = []
    faces_of: dict[str, set[str]] = {}
    for decision in effective:
        first, second = decision.face_id, decision.other_face_id
        if decision.verb == "same" and first and second:
            must.append((first, second))
        elif decision.verb == "different" and first and second:
            cannot.append((first, second))
        elif decision.verb == "is" and first and decision.identity_id:
            faces_of.setdefault(aliases.get(decision.identity_id, decision.identity_id), set()).add(first)
    chains = [sorted(faces) for _, faces in sorted(faces_of.items())]
    must += [pair for chain in chains for pair in pairwise(chain)]
    anchors = [chain[0] for chain in chains]
    cannot += [(first, second) for place, first in enumerate(anchors) for second in anchors[place + 1 :]]
    return must, cannot


def tracklets_apart(
    effective: Iterable[Decision], aliases: Mapping[str, str], tracklet_of: Mapping[str, str]
) -> set[str]:
    """Tracklets of which people say that they show two persons: their faces must be nodes of their own."""
    must, cannot = pairs_of(effective, aliases)
    names = sorted({face for pair in [*must, *cannot] for face in pair if face in tracklet_of})
    row = {name: place for place, name in enumerate(names)}
    groups = _Groups(len(names))
    for first, second in must:
        if first in row and second in row:
            groups.unite(row[first], row[second])
    apart = set()
    keepers: dict[tuple[int, str], list[str]] = {}
    for name in names:
        keepers.setdefault((groups.find(row[name]), tracklet_of[name]), []).append(name)
    tracklets: dict[int, set[str]] = {}
    for group, tracklet in keepers:
        tracklets.setdefault(group, set()).add(tracklet)
    for first, second in cannot:
        if first in row and second in row:
            apart |= tracklets[groups.find(row[first])] & tracklets[groups.find(row[second])]
    return apart


def node_constraints(
    effective: Sequence[Decision],
    *,
    aliases: Mapping[str, str],
    node_of_face: Mapping[str, int],
    same_picture: Int64Array,
    nodes: int,
) -> Evidence:
    """Constraints over `nodes` rows that can all be satisfied.

    `effective` decisions are satisfiable together (resolve.py); `same_picture` is (p, 2) int64 rows. A decision on a
    face without a node says nothing here.
    """
    must_faces, cannot_faces = pairs_of(effective, aliases)
    must = _rows(must_faces, node_of_face)
    cannot = _rows(cannot_faces, node_of_face)
    groups = _Groups(nodes)
    for first, second in must:
        groups.unite(first, second)
    lifted: list[tuple[int, int]] = []
    kept_apart: list[tuple[int, int]] = []
    for first, second in same_picture.tolist():
        (lifted if groups.find(first) == groups.find(second) else kept_apart).append((first, second))
    return Evidence(
        constraints=Constraints(must_link=_array(must), cannot_link=_array([*cannot, *kept_apart])),
        lifted_pictures=_array(lifted),
    )


class _Groups:
    """Union-find over rows."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = self._parent[row]
        return row

    def unite(self, first: int, second: int) -> None:
        self._parent[self.find(second)] = self.find(first)


def _rows(pairs: Iterable[tuple[str, str]], node_of_face: Mapping[str, int]) -> list[tuple[int, int]]:
    found = ((node_of_face.get(first), node_of_face.get(second)) for first, second in pairs)
    return sorted({(a, b) for a, b in found if a is not None and b is not None and a != b})


def _array(pairs: Iterable[tuple[int, int]]) -> Int64Array:
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)

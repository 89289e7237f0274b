"""From what people decided on faces to constraints on the nodes that are clustered.

People are stronger than pictures: nobody is in one picture twice, unless a human `same` or `is` ties the two (a mirror,
a collage). Weaker still are external keys: see `key_ties.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.knn import SearchParams, knn_graph
from facestore.decisions import Decision

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_ALL_PAIRS_UP_TO = 500  # named identities: beyond, their pairs would outgrow the faces
_NEAREST = 64
_SEARCH = SearchParams(flat_rows_max=50_000, probes=8, block_rows=2048)
_TRACKLET = "\x1f"  # marks a tracklet among faces: no id holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Constraints that can all hold, and what had to give way."""

    constraints: Constraints
    lifted_pictures: Int64Array  # (p, 2) nodes of one picture that people called the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Decisions as pairs of faces."""

    must: tuple[tuple[str, str], ...]  # `same`, and a chain through the faces of each identity that `is` names
    different: tuple[tuple[str, str], ...]
    anchors: tuple[str, ...]  # one face of each named identity: no two of them are one person

    @property
    def faces(self) -> set[str]:
        """Every face that is spoken of."""
        return {*self.anchors, *(face for pair in (*self.must, *self.different) for face in pair)}


def pairs_of(effective: Iterable[Decision], aliases: Mapping[str, str]) -> Said:
    """What decisions say of pairs. `aliases` maps a merged identity to the one that remains."""
    must: list[tuple[str, str]] = []
    different: list[tuple[str, str]] = []
    faces_of: dict[str, set[str]] = {}
    for decision in effective:
        first, second = decision.face_id, decision.other_face_id
        if decision.verb == "same" and first and second:
            must.append((first, second))
        elif decision.verb == "different" and first and second:
            different.append((first, second))
        elif decision.verb == "is" and first and decision.identity_id:
            faces_of.setdefault(aliases.get(decision.identity_id, decision.identity_id), set()).add(first)
    chains = [sorted(faces) for _, faces in sorted(faces_of.items())]
    must += [pair for chain in chains for pair in pairwise(chain)]
    return Said(must=tuple(must), different=tuple(different), anchors=tuple(chain[0] for chain in chains))


def tracklets_apart(
    effective: Iterable[Decision], aliases: Mapping[str, str], tracklet_of: Mapping[str, str]
) -> set[str]:
    """Tracklets of which people say that they show two persons: their faces must be nodes of their own.

    Also those that only together, by chains of ties over several tracklets, would put a `different` under one label.
    """
    said = pairs_of(effective, aliases)
    named = sorted(face for face in said.faces if face in tracklet_of)
    tied = _Groups(said.must)
    joined = _Groups([*said.must, *((face, _TRACKLET + tracklet_of[face]) for face in named)])
    torn = {joined.find(first) for first, second in said.different if joined.find(first) == joined.find(second)}
    anchors_of = Counter(joined.find(anchor) for anchor in said.anchors)
    torn |= {group for group, anchors in anchors_of.items() if anchors > 1}
    people: dict[str, set[str]] = {}
    for face in named:
        if joined.find(face) in torn:
            people.setdefault(tracklet_of[face], set()).add(tied.find(face))
    return {tracklet for tracklet, groups in people.items() if len(groups) > 1}


def node_constraints(
    effective: Sequence[Decision],
    *,
    aliases: Mapping[str, str],
    node_of_face: Mapping[str, int],
    same_picture: Int64Array,
    vectors: Float32Array,
) -> Evidence:
    """Constraints over the rows of `vectors` (n, d) that can all be satisfied.

    `effective` decisions are satisfiable together (resolve.py); `same_picture` is (p, 2) int64 rows. A face without a
    node still ties those that it is tied to. Of very many named identities each is kept apart from those nearest to it
    only; who is named has that label all the same (labels.py).
    """
    said = pairs_of(effective, aliases)
    tied = _Groups(said.must)
    rows_of: dict[str, list[int]] = {}
    for face in sorted(said.faces):
        if (row := node_of_face.get(face)) is not None:
            rows_of.setdefault(tied.find(face), []).append(row)
    must = [pair for rows in rows_of.values() for pair in pairwise(sorted(set(rows)))]

    def row_of(face: str) -> int | None:
        return node_of_face.get(face, next(iter(rows_of.get(tied.find(face), ())), None))

    sides = ((row_of(first), row_of(second)) for first, second in said.different)
    cannot = [(min(one, other), max(one, other)) for one, other in sides if one is not None and other is not None]
    cannot += _strangers([row for anchor in said.anchors if (row := row_of(anchor)) is not None], vectors)
    groups = _Groups(must)
    lifted: list[tuple[int, int]] = []
    kept_apart: list[tuple[int, int]] = []
    for first, second in same_picture.tolist():
        (lifted if groups.find(first) == groups.find(second) else kept_apart).append((first, second))
    return Evidence(
        constraints=Constraints(must_link=_array(must), cannot_link=_array([*cannot, *kept_apart])),
        lifted_pictures=_array(lifted),
    )


def _strangers(rows: Sequence[int], vectors: Float32Array) -> list[tuple[int, int]]:
    """Pairs of rows of named identities: all of them, or of very many the nearest."""
    if len(rows) <= _ALL_PAIRS_UP_TO:
        return [(min(pair), max(pair)) for pair in combinations(rows, 2)]
    near = knn_graph(vectors[list(rows)], _NEAREST, params=_SEARCH, min_similarity=-1.0)
    ends = np.array(rows, np.int64)[np.stack([near.rows, near.cols], axis=1)]
    return [(min(pair), max(pair)) for pair in ends.tolist()]


_Name = TypeVar("_Name", str, int)


class _Groups(Generic[_Name]):
    """Union-find over names that pairs tie; any other name is alone."""

    def __init__(self, pairs: Iterable[tuple[_Name, _Name]]) -> None:
        self._parent: dict[_Name, _Name] = {}
        for first, second in pairs:
            self._parent[self.find(second)] = self.find(first)

    def find(self, name: _Name) -> _Name:
        while (parent := self._parent.setdefault(name, name)) != name:
            self._parent[name] = self._parent.setdefault(parent, parent)
            name = parent
        return name


def _array(pairs: Iterable[tuple[int, int]]) -> Int64Array:
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)

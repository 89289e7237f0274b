"""From what people decided on faces to constraints on the nodes that are clustered.

People are stronger than pictures: nobody is in one picture twice, unless a human `same` or `is` ties the two (a mirror,
a collage). Weaker still are external keys: see `key_ties.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from facestore.decisions import Decision

Int64Array = NDArray[np.int64]
_TRACKLET = "\x1f"  # marks a tracklet among faces: no id holds it


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
    """Tracklets of which people say that they show two persons: their faces must be nodes of their own.

    Also those that only together, by chains of ties over several tracklets, would put a `different` under one label.
    """
    must, cannot = pairs_of(effective, aliases)
    tied = _Groups(must)
    joined = _Groups([*must, *((face, _TRACKLET + tracklet_of[face]) for face in _named(must, cannot, tracklet_of))])
    torn = {joined.find(first) for first, second in cannot if joined.find(first) == joined.find(second)}
    people: dict[str, set[str]] = {}
    for face in _named(must, cannot, tracklet_of):
        if joined.find(face) in torn:
            people.setdefault(tracklet_of[face], set()).add(tied.find(face))
    return {tracklet for tracklet, groups in people.items() if len(groups) > 1}


def _named(
    must: Sequence[tuple[str, str]], cannot: Sequence[tuple[str, str]], tracklet_of: Mapping[str, str]
) -> list[str]:
    return sorted({face for pair in [*must, *cannot] for face in pair if face in tracklet_of})


def node_constraints(
    effective: Sequence[Decision],
    *,
    aliases: Mapping[str, str],
    node_of_face: Mapping[str, int],
    same_picture: Int64Array,
    nodes: int,
) -> Evidence:
    """Constraints over `nodes` rows that can all be satisfied.

    `effective` decisions are satisfiable together (resolve.py); `same_picture` is (p, 2) int64 rows. A face without a
    node still ties those that it is tied to.
    """
    must_faces, cannot_faces = pairs_of(effective, aliases)
    tied = _Groups(must_faces)
    rows_of: dict[str, list[int]] = {}
    for face in sorted({face for pair in [*must_faces, *cannot_faces] for face in pair}):
        if (row := node_of_face.get(face)) is not None:
            rows_of.setdefault(tied.find(face), []).append(row)
    must = [pair for rows in rows_of.values() for pair in pairwise(sorted(set(rows)))]
    sides = (
        [node_of_face.get(face, next(iter(rows_of.get(tied.find(face), ())), None)) for face in pair]
        for pair in cannot_faces
    )
    cannot = [(min(one, other), max(one, other)) for one, other in sides if one is not None and other is not None]
    groups = _Groups(must)
    lifted: list[tuple[int, int]] = []
    kept_apart: list[tuple[int, int]] = []
    for first, second in same_picture.tolist():
        (lifted if groups.find(first) == groups.find(second) else kept_apart).append((first, second))
    return Evidence(
        constraints=Constraints(must_link=_array(must), cannot_link=_array([*cannot, *kept_apart])),
        lifted_pictures=_array(lifted),
    )


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

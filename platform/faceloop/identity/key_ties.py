"""From key groups to ties between nodes, to questions, and to what has to be told to people.

People are stronger than keys: who is known to differ from another face of the same key loses its key, the others keep
theirs. The same holds for what one picture shows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceloop.clustering.constraints import Constraints
from faceloop.identity.keys import KeyGroup, KeyGroups
from facestore.decisions import Contradiction, Decision
from facestore.ids import ID_HEX, digest_of
from facestore.records import Proposal

Int64Array = NDArray[np.int64]
_Shown = list[list[dict[int, str]]]  # key group → tracklet → its nodes, each with its best face


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestedKey:
    """Two faces that share a hard key and that people, or one picture, keep apart. Neither has the key any more."""

    key: str
    face_id: str
    other_face_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTies:
    """Hard keys as constraints that no person contradicts."""

    pairs: Int64Array  # (p, 2) node rows to must-link, sorted, linear in the tracklets
    group_of_face: dict[str, int]  # faces tied by keys → number of their group, from 0
    contested: tuple[ContestedKey, ...]


def tie_keys(groups: KeyGroups, node_of_face: Mapping[str, int], known: Constraints, *, nodes: int) -> KeyTies:
    """Hard keys as must-links among `nodes` rows, less those that `known` constraints contradict.

    `known` (people and single pictures) must be satisfiable. Where ties would close over one of its cannot-links, the
    faces at both its ends lose their keys: what is known of them outweighs a number on a jacket. All others stay tied.
    """
    shown = [[_nodes_of(tracklet, node_of_face) for tracklet in group.tracklets] for group in groups.hard]
    holds = _memberships(shown)  # (m, 2): node, key group
    of_node, _ = _joined(known.must_link, nodes)  # who people tied, one number each
    links = np.concatenate([known.must_link, holds + np.array([0, nodes])])
    closed, _ = _joined(links, nodes + len(groups.hard))
    apart = known.cannot_link[closed[known.cannot_link[:, 0]] == closed[known.cannot_link[:, 1]]]
    is_contested = np.isin(of_node, of_node[apart])
    kept = holds[~is_contested[holds[:, 0]]]
    pairs = [(first, second) for group in _rows_by_group(kept) for first, second in pairwise(group)]
    ties = np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)
    return KeyTies(
        pairs=ties,
        group_of_face=_group_of_face(groups.hard, node_of_face, ties, nodes),
        contested=(*_taken_apart(groups.hard, shown), *_contested(groups.hard, shown, of_node, apart)),
    )


def key_questions(
    groups: Iterable[KeyGroup], cluster_of_face: Mapping[str, int], *, answered: Set[tuple[int, int]], run_id: str
) -> list[Proposal]:
    """Merge questions, reason `shared_key`: each cluster that a key speaks of against the largest of them.

    The score is the number of keys that two clusters share. `answered` are pairs of clusters, smaller first, that
    people already called different. Linear in the faces; any order of input gives the same.
    """
    sizes = Counter(cluster_of_face.values())
    keys: Counter[tuple[int, int]] = Counter()
    shown: dict[tuple[int, int], tuple[str, str]] = {}
    for group in sorted(groups, key=lambda group: group.key):
        face_of: dict[int, str] = {}
        for face in (tracklet[0] for tracklet in group.tracklets):
            if (cluster := cluster_of_face.get(face, -1)) >= 0:
                face_of.setdefault(cluster, face)
        largest, *others = sorted(face_of, key=lambda cluster: (-sizes[cluster], cluster)) or [-1]
        for other in others:
            pair = (min(largest, other), max(largest, other))
            if pair not in answered:
                keys[pair] += 1
                shown.setdefault(pair, (face_of[pair[0]], face_of[pair[1]]))
    return [
        Proposal(
            kind="merge",
            first_cluster=pair[0],
            second_cluster=pair[1],
            first_face_id=shown[pair][0],
            second_face_id=shown[pair][1],
            score=float(count),
            faces=min(sizes[pair[0]], sizes[pair[1]]),
            reason="shared_key",
            run_id=run_id,
        )
        for pair, count in sorted(keys.items(), key=lambda entry: (-entry[1], entry[0]))
    ]


def key_contradictions(
    contested: Iterable[ContestedKey], effective: Iterable[Decision], node_of_face: Mapping[str, int], *, policy: str
) -> list[Contradiction]:
    """Contested keys as contradictions of kind geometry: nothing of what people said is set aside, the keys are.

    `decision_ids` are the `different` between the very nodes shown; none where a chain or one picture keeps them apart.
    """
    said: dict[tuple[int, int], list[str]] = defaultdict(list)
    for decision in effective:
        ends = [node_of_face.get(face) for face in (decision.face_id, decision.other_face_id) if face is not None]
        if decision.verb == "different" and len(ends) == 2 and ends[0] is not None and ends[1] is not None:
            said[(min(ends[0], ends[1]), max(ends[0], ends[1]))].append(decision.decision_id)
    found = []
    for entry in contested:
        low, high = sorted((node_of_face[entry.face_id], node_of_face[entry.other_face_id]))
        found.append(
            Contradiction(
                contradiction_id=digest_of(["key", entry.key, entry.face_id, entry.other_face_id])[:ID_HEX],
                kind="geometry",
                decision_ids=tuple(sorted(said[(low, high)])),
                face_ids=(entry.face_id, entry.other_face_id),
                set_aside=(),
                policy=policy,
            )
        )
    return found


def _nodes_of(tracklet: Sequence[str], node_of_face: Mapping[str, int]) -> dict[int, str]:
    """Node → its best face. More than one node: people said that the tracklet shows two persons."""
    found: dict[int, str] = {}
    for face in tracklet:
        if face in node_of_face:
            found.setdefault(node_of_face[face], face)
    return found


def _memberships(shown: _Shown) -> Int64Array:
    """(m, 2) node and key group, sorted; a tracklet that people took apart has no key."""
    rows = {(node, place) for place, group in enumerate(shown) for nodes in group if len(nodes) == 1 for node in nodes}
    return np.array(sorted(rows), np.int64).reshape(-1, 2)


def _taken_apart(groups: Sequence[KeyGroup], shown: _Shown) -> Iterator[ContestedKey]:
    for group, tracklets in zip(groups, shown, strict=True):
        for nodes in tracklets:
            if len(nodes) > 1:
                first, second, *_ = sorted(nodes.values())
                yield ContestedKey(key=group.key, face_id=first, other_face_id=second)


def _joined(links: Int64Array, count: int) -> tuple[NDArray[np.int32], int]:
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(count, count))
    parts, of_row = connected_components(graph, directed=False)
    return of_row, parts


def _rows_by_group(holds: Int64Array) -> Iterator[list[int]]:
    ordered = holds[np.lexsort((holds[:, 0], holds[:, 1]))]
    starts = np.flatnonzero(np.diff(ordered[:, 1])) + 1
    yield from (part[:, 0].tolist() for part in np.split(ordered, starts))


def _group_of_face(
    groups: Sequence[KeyGroup], node_of_face: Mapping[str, int], ties: Int64Array, nodes: int
) -> dict[str, int]:
    of_node, parts = _joined(ties, nodes)
    is_tied = np.bincount(of_node, minlength=parts) > 1
    everyone = {face for group in groups for tracklet in group.tracklets for face in tracklet}
    keyed = sorted(face for face in everyone if face in node_of_face)
    tied = [(face, int(of_node[node_of_face[face]])) for face in keyed if is_tied[of_node[node_of_face[face]]]]
    number: dict[int, int] = {}
    return {face: number.setdefault(part, len(number)) for face, part in tied}


def _contested(
    groups: Sequence[KeyGroup], shown: _Shown, of_node: NDArray[np.int32], apart: Int64Array
) -> Iterator[ContestedKey]:
    """One for each known difference and each key that both sides hold; where several keys tie them, the first."""
    face_of: dict[int, dict[int, str]] = defaultdict(dict)  # who people tied → key group → a face of theirs
    for place, group in enumerate(shown):
        for nodes in group:
            for node, face in nodes.items() if len(nodes) == 1 else ():
                face_of[int(of_node[node])].setdefault(place, face)
    sides = sorted({(min(pair), max(pair)) for pair in of_node[apart].tolist()})
    for first, second in sides:
        shared = sorted(face_of[first].keys() & face_of[second].keys())
        for place in shared or [min(face_of[first])]:
            other = place if shared else min(face_of[second])
            low, high = sorted((face_of[first][place], face_of[second][other]))
            yield ContestedKey(key=groups[place].key, face_id=low, other_face_id=high)

"""What standing decisions say about single faces: who is named, who is tied to whom, who is out.

Built from decisions that can all hold together (`resolve.py`), over the faces that exist today.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from facestore.decisions import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """Faces that people hold to be one person: all with one name, or joined by `same`."""

    tie_id: str  # its smallest face
    face_ids: tuple[str, ...]  # sorted
    identity_id: str | None  # by `is`


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """By face. A face of no decision is nowhere in it."""

    rejected: dict[str, str]  # face → the `not_a_face` decision
    ignored: dict[str, str]  # face → the `ignore` decision
    tie_of: dict[str, Tie]  # faces of `same`, `is` and `different`
    decision_of: dict[str, str]  # face → its last `is`, or its last `same` when nobody named it
    apart: tuple[tuple[str, str], ...]  # pairs of ties that differ, each once, sorted
    without_face: int  # decisions of which a face exists no more

    def ties(self) -> list[Tie]:
        """Each tie once, by its smallest face."""
        return [tie for face, tie in sorted(self.tie_of.items()) if face == tie.tie_id]


def standing_of(effective: Iterable[Decision], *, aliases: Mapping[str, str], faces: Set[str]) -> Standing:
    """Standing decisions by face. `aliases` maps a merged identity to the one that remains; `faces` are those known.

    Chains over a face that exists no more still tie the faces at both ends.
    """
    rejected: dict[str, str] = {}
    ignored: dict[str, str] = {}
    named: dict[str, str] = {}
    decision_of: dict[str, str] = {}
    differ: list[tuple[str, str]] = []
    joined = _Joined()
    without_face = 0
    for decision in sorted(effective, key=lambda decision: (decision.decided_at, decision.decision_id)):
        face, other = decision.face_id, decision.other_face_id
        if face is None:
            continue
        without_face += not {face, other or face} <= faces
        match decision.verb:
            case "not_a_face":
                rejected[face] = decision.decision_id
            case "ignore":
                ignored[face] = decision.decision_id
            case "is" if decision.identity_id:
                named[face] = aliases.get(decision.identity_id, decision.identity_id)
                decision_of[face] = decision.decision_id
                joined.unite(face, f"{_NAME}{named[face]}")
            case "same" if other:
                joined.unite(face, other)
                for end in (face, other):
                    if end not in named:
                        decision_of[end] = decision.decision_id
            case "different" if other:
                differ.append((face, other))
            case _:
                pass  # attributes spread elsewhere; a retract has done its work before
    tie_at = _ties(joined, named, {end for pair in differ for end in pair}, faces)
    sides = [(tie_at.get(joined.find(first)), tie_at.get(joined.find(second))) for first, second in differ]
    apart = {tuple(sorted((one.tie_id, other.tie_id))) for one, other in sides if one and other}
    return Standing(
        rejected=rejected,
        ignored=ignored,
        tie_of={face: tie for tie in tie_at.values() for face in tie.face_ids},
        decision_of=decision_of,
        apart=tuple(sorted((one, other) for one, other in apart)),
        without_face=without_face,
    )


_NAME = "\x1f"  # marks an identity among faces: no id holds it


def _ties(joined: "_Joined", named: Mapping[str, str], differing: Set[str], faces: Set[str]) -> dict[str, Tie]:
    """Root of the joined → its tie; none where every face of it is gone."""
    members: dict[str, list[str]] = defaultdict(list)
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for face in sorted(joined.members | differing):
        root = joined.find(face)
        if face in faces:
            members[root].append(face)
        if face in named:
            names[root][named[face]] += 1
    return {
        root: Tie(
            tie_id=people[0],
            face_ids=tuple(people),
            identity_id=min(names[root], default=None, key=lambda name: (-names[root][name], name)),
        )
        for root, people in members.items()
    }


class _Joined:
    """Union-find over names, by smallest root, so that no order of the input shows."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    @property
    def members(self) -> set[str]:
        return {name for name in self._parent if not name.startswith(_NAME)}

    def find(self, name: str) -> str:
        parent = self._parent.setdefault(name, name)
        while parent != self._parent[parent]:
            self._parent[name] = self._parent[parent]
            name, parent = parent, self._parent[parent]
        return parent

    def unite(self, first: str, second: str) -> None:
        roots = sorted((self.find(first), self.find(second)))
        self._parent[roots[1]] = roots[0]

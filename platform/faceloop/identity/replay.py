"""Events over labels: merge, split, new name and undo, replayed in the order in which they happened.

Labels never live in the log: they are the published ones with the events that came after. An identity that a merge
absorbs, or whose split is undone, gives up all its faces. An undo brings back the faces of its event from wherever runs
have put them since; where a later event of people moved a face on, it stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from facestore.decisions import IdentityEvent
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedLabels:
    """Labels after the events. A retired identity stays in `successor_of`: its id is never given away."""

    identity_of: dict[str, str]  # face → identity
    successor_of: dict[str, str]  # identities that events retired → who took over
    names: dict[str, str]  # identity → the last name that people gave it
    standing: tuple[IdentityEvent, ...]  # not undone, oldest first; undos themselves are not in it


def in_order(events: Iterable[IdentityEvent]) -> list[IdentityEvent]:
    """Oldest first; equal times by id."""
    return sorted(events, key=lambda event: (event.happened_at, event.event_id))


def replay(
    identity_of: Mapping[str, str],
    events: Sequence[IdentityEvent],
    *,
    seen: Set[str] = frozenset(),
    former: Mapping[str, str] | None = None,
) -> ReplayedLabels:
    """Labels with every event applied that is not `seen` (event ids that the labels already know).

    `former` maps faces to the identity that they were in before: where a split is undone, faces that runs have put
    into the split identity since go back there.

    Any order of `events` gives the same. Raises DataError for an undo of an event that is not among them.
    """
    state = _Labels(identity_of, former or {})
    by_id = {event.event_id: event for event in events}
    undone: set[str] = set()
    names: dict[str, list[tuple[str, str]]] = defaultdict(list)  # identity → (event, name), oldest first
    ordered = in_order(events)
    for event in ordered:
        is_forward, cause = True, event
        while cause.kind == "undo":
            if (undoes := cause.undoes) is None or undoes not in by_id:
                raise DataError(
                    f"event {event.event_id} undoes {cause.undoes}, which is not in the log; restore the log"
                )
            is_forward, cause = not is_forward, by_id[undoes]
        if event.kind == "undo" and not _takes_back(event, by_id, undone):
            continue  # another undo was first
        if event.event_id not in seen:
            state.move(cause, is_forward=is_forward, settled=_moved_between(cause, event, ordered, undone))
        state.retire(cause, is_forward=is_forward)
        if event.kind == "rename" and event.name:
            names[event.identity_id].append((event.event_id, event.name))
    standing = tuple(event for event in ordered if event.kind != "undo" and event.event_id not in undone)
    last = {who: [name for made_by, name in given if made_by not in undone] for who, given in names.items()}
    return ReplayedLabels(
        identity_of=state.identity_of,
        successor_of=state.heir,
        names={who: given[-1] for who, given in sorted(last.items()) if given},
        standing=standing,
    )


def recall(
    former: Mapping[str, str], events: Sequence[IdentityEvent], *, seen: Set[str] = frozenset()
) -> dict[str, str]:
    """Identities that faces were in before (face → identity), after undos that are not `seen`.

    What an undone merge took was in the absorbed identity; the identity of an undone split never was.
    """
    found = dict(former)
    by_id = {event.event_id: event for event in events}
    for event in in_order(events):
        cause, is_forward = _cause(event, by_id)
        other = cause.other_identity_id
        if is_forward or event.event_id in seen or other is None:
            continue
        if cause.kind == "merge":
            found |= {face: other for face in cause.face_ids if found.get(face) == cause.identity_id}
        else:
            found = {face: cause.identity_id if name == other else name for face, name in found.items()}
    return found


def _cause(event: IdentityEvent, by_id: Mapping[str, IdentityEvent]) -> tuple[IdentityEvent, bool]:
    """The event behind a chain of undos, and whether it happens (True) or is taken back."""
    is_forward, cause = True, event
    while cause.kind == "undo":
        if (undoes := cause.undoes) is None or undoes not in by_id:
            raise DataError(f"event {event.event_id} undoes {cause.undoes}, which is not in the log; restore the log")
        is_forward, cause = not is_forward, by_id[undoes]
    return cause, is_forward


def _takes_back(event: IdentityEvent, by_id: Mapping[str, IdentityEvent], undone: set[str]) -> bool:
    """Mark what an undo takes back. False, and the undo itself is void, when that was taken back before."""
    target = by_id[str(event.undoes)]
    if target.event_id in undone:
        undone.add(event.event_id)
        return False
    undone.add(target.event_id)
    while target.kind == "undo":  # an undo that falls lets its own target stand again, and so on down
        target = by_id[str(target.undoes)]
        (undone.discard if target.event_id in undone else undone.add)(target.event_id)
    return True


def _moved_between(
    first: IdentityEvent, last: IdentityEvent, ordered: Sequence[IdentityEvent], undone: Set[str]
) -> set[str]:
    """Faces that standing events between these two moved. `ordered` is oldest first."""
    begin, end = ordered.index(first), ordered.index(last)
    later = (event for event in ordered[begin + 1 : end] if event.kind != "undo" and event.event_id not in undone)
    return {face for event in later for face in event.face_ids}


class _Labels:
    def __init__(self, identity_of: Mapping[str, str], former: Mapping[str, str]) -> None:
        self.identity_of = dict(identity_of)
        self._former = former
        self.heir: dict[str, str] = {}
        self._faces: dict[str, set[str]] = defaultdict(set)
        for face, name in identity_of.items():
            self._faces[name].add(face)

    def move(self, event: IdentityEvent, *, is_forward: bool, settled: Set[str]) -> None:
        """Faces of the event go to where it says, but for `settled` ones that went on from where it left them."""
        source, target = self._ends(event, is_forward)
        if source is None or target is None or source == target:
            return  # a name; or two people merged the same two, one each way
        listed = {face for face in event.face_ids if face in self.identity_of}
        goes_to = {face: target for face in listed if self.identity_of[face] == source or face not in settled}
        if source == event.other_identity_id:  # which is no more
            for face in self._faces[source] - goes_to.keys():
                home = self._former.get(face) if event.kind == "split" else None
                goes_to[face] = target if home in {None, source} else self._stands_for(str(home))
        for face, name in goes_to.items():
            self._faces[self.identity_of[face]].discard(face)
            self._faces[name].add(face)
            self.identity_of[face] = name

    def retire(self, event: IdentityEvent, *, is_forward: bool) -> None:
        """Keep the books of who took over."""
        source, target = self._ends(event, is_forward)
        other = event.other_identity_id
        if source is None or target is None or other is None or source == target:
            return
        self.heir.pop(target, None)
        if target != other and not self._faces[other]:
            self.heir.setdefault(other, target)

    def _ends(self, event: IdentityEvent, is_forward: bool) -> tuple[str | None, str | None]:
        """Whose faces go to whom: a merge forward and a split undone end the other identity, the rest begin it."""
        one, other = event.identity_id, event.other_identity_id
        if other is None:
            return None, None
        if (event.kind == "merge") == is_forward:
            return other if event.kind == "merge" else self._stands_for(other), self._stands_for(one)
        return self._stands_for(one), other

    def _stands_for(self, name: str) -> str:
        while name in self.heir:
            name = self.heir[name]
        return name

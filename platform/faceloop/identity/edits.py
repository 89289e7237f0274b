"""What a merge, a split, a new name or an undo would do: exactly which faces move, and which decisions make it last.

Nothing is written here. A plan is refused when standing decisions speak against it; the message names them.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from faceloop.identity.matching import new_identity
from faceloop.identity.refusals import refuse_across, refuse_contradicted, refuse_named
from faceloop.identity.replay import in_order, replay
from faceloop.identity.resolve import aliases_of
from facestore.decisions import Decision, EventKind, IdentityEvent, Verb, decide, identity_event
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFace:
    """A face as it is labelled now."""

    face_id: str
    identity_id: str | None
    tracklet_id: str
    moment: tuple[str, int]  # footage, ms: its picture
    quality: float  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One face that changes its identity."""

    face_id: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be appended to the logs, and the faces that it moves, in order of their ids."""

    event: IdentityEvent
    decisions: tuple[Decision, ...]
    moves: tuple[Move, ...]
    pictures_together: int  # merge: pictures that show both, which one person seldom is


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What edits are planned on: labels as they are now, and what people said before."""

    faces: Sequence[LabelledFace]
    effective: Sequence[Decision]  # standing decisions, satisfiable together
    aliases: Mapping[str, str]  # merged identity → the one that remains
    former: Mapping[str, str]  # face → the identity that it was in before
    taken: Set[str]  # every identity ever minted

    def members(self, identity: str) -> list[LabelledFace]:
        """Its faces, best first. Raises DataError when it has none."""
        found = [face for face in self.faces if face.identity_id == identity]
        if not found:
            state = "holds no face: it is retired" if identity in self.taken else "is not known"
            raise DataError(f"identity {identity} {state}; `faceloop identities list` names those that live")
        return sorted(found, key=lambda face: (-face.quality, face.face_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who edits, and when (UTC)."""

    annotator: str
    at: datetime
    note: str | None = None

    def says(self, verb: Verb, first: str, second: str) -> Decision:
        return decide(verb, face_id=first, other_face_id=second, annotator=self.annotator, decided_at=self.at)

    def names(self, face: str, identity: str) -> Decision:
        return decide("is", face_id=face, identity_id=identity, annotator=self.annotator, decided_at=self.at)

    def takes_back(self, decision_id: str) -> Decision:
        return decide("retract", retracts=decision_id, annotator=self.annotator, decided_at=self.at)


def plan_merge(known: Known, survivor: str, absorbed: str, *, author: Author) -> Plan:
    """All faces of `absorbed` go to `survivor`; a `same` between the best faces of both makes it last.

    Where one picture shows both, a `same` for each such pair of tracklets says that this is meant (a mirror, a
    collage). Raises DataError for an identity without faces, and when a standing decision keeps the two apart.
    """
    if survivor == absorbed:
        raise DataError(f"identity {survivor} cannot absorb itself; name two identities")
    staying, going = known.members(survivor), known.members(absorbed)
    side = {face.face_id: 0 for face in staying} | {face.face_id: 1 for face in going}
    doing = f"merging {absorbed} into {survivor}"
    refuse_across(known.effective, "different", side, doing)
    together = _seen_together(staying, going)
    pairs = [(staying[0].face_id, going[0].face_id), *together.values()]
    decisions = _each_once(author.says("same", first, second) for first, second in pairs)
    moved = tuple(face.face_id for face in going)
    merged = {name: survivor if heir == absorbed else heir for name, heir in known.aliases.items()}
    refuse_contradicted(known.effective, decisions, merged | {absorbed: survivor}, doing)
    return Plan(
        event=_event("merge", survivor, absorbed, moved, decisions, author),
        decisions=decisions,
        moves=tuple(Move(face_id=face, before=absorbed, after=survivor) for face in sorted(moved)),
        pictures_together=len({face.moment for face in going} & {face.moment for face in staying}),
    )


def plan_split(
    known: Known, identity: str, face_ids: Iterable[str], *, author: Author, whole_tracklets: bool = True
) -> Plan:
    """These faces leave for a new identity: the best of them `is` that one and `different` from the best that stays;
    `same` holds the others to it.

    With `whole_tracklets` their tracklets go with them; else a tracklet with faces on both sides is taken apart.
    Raises DataError when a face is not in the identity, when none would stay, and when a decision holds them together.
    """
    people = known.members(identity)
    named = set(face_ids)
    if strangers := named - {face.face_id for face in people}:
        raise DataError(f"face {min(strangers)} is not in {identity}; `faceloop identities show {identity}` lists them")
    tracklets = {face.tracklet_id for face in people if face.face_id in named}
    going = [f for f in people if (f.tracklet_id in tracklets if whole_tracklets else f.face_id in named)]
    moved = tuple(sorted(face.face_id for face in going))
    staying = [face for face in people if face.face_id not in set(moved)]
    if not going or not staying:
        raise DataError(f"a split of {identity} needs faces that leave and faces that stay; name some of its faces")
    side = {face.face_id: 0 for face in staying} | {face.face_id: 1 for face in going}
    doing = f"splitting {identity}"
    refuse_across(known.effective, "same", side, doing)
    for name in (identity, *(name for name, heir in known.aliases.items() if heir == identity)):
        refuse_named(known.effective, name, side, doing)
    torn = {face.tracklet_id for face in going} & {face.tracklet_id for face in staying}
    ties = [pair for part in (going, staying) for pair in _star(part, torn, is_leaving=part is going)]
    new = new_identity(moved[0], known.taken)
    decisions = _each_once(
        [
            author.says("different", staying[0].face_id, going[0].face_id),
            author.names(going[0].face_id, new),
            *(author.says("same", first, second) for first, second in ties),
        ]
    )
    refuse_contradicted(known.effective, decisions, known.aliases, doing)
    return Plan(
        event=_event("split", identity, new, moved, decisions, author),
        decisions=decisions,
        moves=tuple(Move(face_id=face, before=identity, after=new) for face in moved),
        pictures_together=0,
    )


def plan_rename(known: Known, identity: str, name: str, *, author: Author) -> Plan:
    """A name for people to read. Raises DataError for an identity without faces and for an empty name."""
    known.members(identity)
    if not name.strip():
        raise DataError("a name needs letters; undo the event that gave the old one to be without a name")
    event = identity_event(
        "rename",
        identity_id=identity,
        name=name.strip(),
        annotator=author.annotator,
        happened_at=author.at,
        note=author.note,
    )
    return Plan(event=event, decisions=(), moves=(), pictures_together=0)


def plan_undo(
    known: Known, event_id: str, *, events: Sequence[IdentityEvent], decisions: Sequence[Decision], author: Author
) -> Plan:
    """Take an event back: its faces return, exactly its decisions are retracted. An undo can be undone.

    `events` and `decisions` are the whole logs. Raises DataError for an unknown event, one that is undone already, and
    when decisions that would stand again contradict later ones.
    """
    found = {event.event_id: event for event in events}.get(event_id)
    if found is None:
        raise DataError(f"no event {event_id}; `faceloop identities history` lists them")
    is_undone = event_id in taken_back((event.event_id, event.undoes) for event in reversed(in_order(events)))
    if is_undone:
        raise DataError(f"event {event_id} is undone already; undo the undo to have it again")
    newest_first = sorted(decisions, key=lambda said: (said.decided_at, said.decision_id), reverse=True)
    gone = taken_back((said.decision_id, said.retracts) for said in newest_first)
    retracts = tuple(author.takes_back(said) for said in found.decision_ids if said not in gone)
    draft = _event("undo", found.identity_id, found.other_identity_id, (), retracts, author, undoes=event_id)
    again = {said.retracts for said in decisions if said.decision_id in found.decision_ids}
    returning = [said for said in decisions if said.decision_id in again]
    refuse_contradicted(known.effective, returning, aliases_of([*events, draft]), f"undoing {event_id}")
    identity_of = {face.face_id: face.identity_id for face in known.faces if face.identity_id is not None}
    seen = {event.event_id for event in events}
    after = replay(identity_of, [*events, draft], seen=seen, former=known.former).identity_of
    moves = tuple(
        Move(face_id=face, before=before, after=after[face])
        for face, before in sorted(identity_of.items())
        if after[face] != before
    )
    moved = tuple(move.face_id for move in moves)
    return Plan(
        event=_event("undo", found.identity_id, found.other_identity_id, moved, retracts, author, undoes=event_id),
        decisions=retracts,
        moves=moves,
        pictures_together=0,
    )


def taken_back(newest_first: Iterable[tuple[str, str | None]]) -> set[str]:
    """Ids that a standing entry takes back. Entries are (id, id that it takes back or None), newest first."""
    gone: set[str] = set()
    for name, target in newest_first:
        if target is not None and name not in gone:
            gone.add(target)
    return gone


def _seen_together(
    staying: Sequence[LabelledFace], going: Sequence[LabelledFace]
) -> dict[tuple[str, str], tuple[str, str]]:
    """(tracklet that stays, tracklet that goes) → a pair of their faces in one picture."""
    at: dict[tuple[str, int], list[LabelledFace]] = {}
    for face in staying:
        at.setdefault(face.moment, []).append(face)
    pairs = [(one, other) for other in going for one in at.get(other.moment, ())]
    pairs.sort(key=lambda pair: (pair[0].face_id, pair[1].face_id), reverse=True)
    return {(one.tracklet_id, other.tracklet_id): (one.face_id, other.face_id) for one, other in pairs}


def _star(people: Sequence[LabelledFace], torn: Set[str], *, is_leaving: bool) -> list[tuple[str, str]]:
    """Ties from the best of `people`, given best first, to the best face of each other tracklet that leaves, and to
    every face of a tracklet that is taken apart."""
    best, seen, ties = people[0], {people[0].tracklet_id} - torn, []
    for face in people[1:]:
        if face.tracklet_id in torn or (is_leaving and face.tracklet_id not in seen):
            ties.append((best.face_id, face.face_id))
            seen.add(face.tracklet_id)
    return ties


def _each_once(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    return tuple({decision.decision_id: decision for decision in decisions}.values())


def _event(
    kind: EventKind,
    identity: str,
    other: str | None,
    moved: tuple[str, ...],
    decisions: Sequence[Decision],
    author: Author,
    undoes: str | None = None,
) -> IdentityEvent:
    return identity_event(
        kind,
        identity_id=identity,
        other_identity_id=other,
        face_ids=moved,
        decision_ids=tuple(decision.decision_id for decision in decisions),
        undoes=undoes,
        annotator=author.annotator,
        happened_at=author.at,
        note=author.note,
    )

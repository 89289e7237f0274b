"""One label a face, and where it comes from: a person's word, its tracklet, a key, its cluster, or the machine alone.

Strongest first: what people say of the face itself; what they say of a face of the same tracklet, then of the same
key; the cluster. A face is in exactly one identity or in none. Labels are derived anew each time: a decision that is
taken back leaves no trace.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from faceloop.identity.standing import Standing, Tie
from facestore.records import Assignment, IdentityState

NOT_CLUSTERED = -1
LEFT_OUT = "left_out"
Via = Literal["face", "tracklet", "key", "cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What labelling needs to know of an accepted face."""

    face_id: str
    tracklet_id: str
    footage_id: str
    pts_ms: int
    subset: str
    quality: float  # [0, 1]
    cluster_id: int  # NOT_CLUSTERED where the machine has nothing to say
    confidence: float  # the machine's, [0, 1]
    status: str  # of the cluster table; LEFT_OUT for a face that is not in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Labels in order of their faces, and how many ties were left without one to keep people's word."""

    assignments: tuple[Assignment, ...]
    kept_apart: int


def label_faces(
    sightings: Iterable[Sighting],
    identity_of_cluster: Mapping[int, str],
    standing: Standing,
    *,
    group_of_face: Mapping[str, int],
    min_confidence: float,
    accept_threshold: float | None,
) -> Labelling:
    """A label for each sighting. No standing decision is violated, whatever the clusters are.

    `group_of_face` are ties by hard keys; a machine label of at least `accept_threshold` counts as confirmed, None
    accepts none. Confidence is 1 where people or a tie of tracklet or key speak, else the machine's.
    """
    seen = {sighting.face_id: sighting for sighting in sightings}
    name_of_tie, kept_apart = _named_ties(standing, seen, identity_of_cluster)
    people = _spoken_of(standing, name_of_tie)
    mates = _Mates(
        by_tracklet=_grouped(people, {face: sighting.tracklet_id for face, sighting in seen.items()}),
        by_key=_grouped(people, {face: str(group) for face, group in group_of_face.items()}),
        by_identity={word.identity_id: word for _, word in sorted(people.items(), reverse=True)},
        apart=_taken_apart(seen.values()),
    )
    assignments = []
    for face, sighting in sorted(seen.items()):
        tie = standing.tie_of.get(face)
        name = name_of_tie[tie.tie_id] if tie else identity_of_cluster.get(sighting.cluster_id)
        is_tied = tie is not None and len(tie.face_ids) > 1
        if face in standing.rejected:
            label = _out(face, "rejected", standing.rejected[face])
        elif face in standing.ignored:
            label = _out(face, "ignored", standing.ignored[face])
        elif face in people:
            label = _confirmed(face, people[face], "face")
        elif mate := mates.of_tracklet(sighting, name, is_free=tie is None):
            label = _confirmed(face, mate, "tracklet")
        elif face in group_of_face and (mate := mates.of_key(group_of_face[face], name, is_free=tie is None)):
            label = _confirmed(face, mate, "key")
        elif name is None or (sighting.confidence < min_confidence and not is_tied):
            label = _unknown(face)
        elif accept_threshold is not None and sighting.confidence >= accept_threshold:
            label = _by_machine(sighting, name, "confirmed", None)
        else:
            label = _by_machine(sighting, name, "proposed", mates.by_identity.get(name))
        assignments.append(label)
    return Labelling(assignments=tuple(assignments), kept_apart=kept_apart)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What people say of a face: its identity, and the decision that says so."""

    identity_id: str
    decision_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mates:
    """Group → identity → a word on one of its faces."""

    by_tracklet: dict[str, dict[str, _Word]]
    by_key: dict[str, dict[str, _Word]]
    by_identity: dict[str, _Word]
    apart: set[str]  # tracklets whose faces are in several clusters

    def of_tracklet(self, sighting: Sighting, name: str | None, *, is_free: bool) -> _Word | None:
        """A tracklet that is one node of the clustering is one person: its word outweighs the cluster's name."""
        words = self.by_tracklet.get(sighting.tracklet_id, {})
        is_whole = sighting.tracklet_id not in self.apart and name not in words
        return _mate(words, None if is_whole and is_free else name, is_free)

    def of_key(self, group: int, name: str | None, *, is_free: bool) -> _Word | None:
        return _mate(self.by_key.get(str(group), {}), name, is_free)


def _mate(words: Mapping[str, _Word], name: str | None, is_free: bool) -> _Word | None:
    """The word that speaks for a face named `name`. A face without a name takes the only one there is, if it is free:
    people say nothing of it, so that no decision can be violated."""
    if name is not None:
        return words.get(name)
    return next(iter(words.values())) if is_free and len(words) == 1 else None


def _named_ties(
    standing: Standing, seen: Mapping[str, Sighting], identity_of_cluster: Mapping[int, str]
) -> tuple[dict[str, str | None], int]:
    """Tie → its identity: the one that people name, else that of most of its faces. Of two ties that differ and came
    out as one identity, the weaker is left without, and counted."""
    ties = {tie.tie_id: tie for tie in standing.ties()}
    name_of: dict[str, str | None] = {}
    for tie in ties.values():
        votes = Counter(
            name
            for face in tie.face_ids
            if face in seen and (name := identity_of_cluster.get(seen[face].cluster_id)) is not None
        )
        name_of[tie.tie_id] = tie.identity_id or min(votes, default=None, key=lambda name: (-votes[name], name))
    kept_apart = 0
    for first, second in standing.apart:
        if name_of[first] is not None and name_of[first] == name_of[second]:
            weaker = min((ties[first], ties[second]), key=lambda tie: _strength(tie))
            name_of[weaker.tie_id] = None
            kept_apart += 1
    return name_of, kept_apart


def _strength(tie: Tie) -> tuple[bool, int, str]:
    return tie.identity_id is not None, len(tie.face_ids), tie.tie_id


def _spoken_of(standing: Standing, name_of_tie: Mapping[str, str | None]) -> dict[str, _Word]:
    """Faces of each identity's main tie: the one that people named, else the largest of at least two faces."""
    main: dict[str, Tie] = {}
    for tie in standing.ties():
        name = name_of_tie[tie.tie_id]
        is_spoken_of = tie.identity_id is not None or len(tie.face_ids) > 1
        if name is not None and is_spoken_of and (name not in main or _strength(tie) > _strength(main[name])):
            main[name] = tie
    out = standing.rejected.keys() | standing.ignored.keys()
    return {
        face: _Word(identity_id=name, decision_id=standing.decision_of[face])
        for name, tie in sorted(main.items())
        for face in tie.face_ids
        if face in standing.decision_of and face not in out
    }


def _taken_apart(sightings: Iterable[Sighting]) -> set[str]:
    clusters: dict[str, set[int]] = defaultdict(set)
    for sighting in sightings:
        if sighting.cluster_id != NOT_CLUSTERED:
            clusters[sighting.tracklet_id].add(sighting.cluster_id)
    return {tracklet for tracklet, found in clusters.items() if len(found) > 1}


def _grouped(people: Mapping[str, _Word], group_of: Mapping[str, str]) -> dict[str, dict[str, _Word]]:
    found: dict[str, dict[str, _Word]] = defaultdict(dict)
    for face, word in sorted(people.items()):
        if face in group_of:
            found[group_of[face]].setdefault(word.identity_id, word)
    return dict(found)


def _confirmed(face: str, word: _Word, via: Via) -> Assignment:
    return Assignment(
        face_id=face,
        identity_id=word.identity_id,
        state="confirmed",
        confidence=1.0,
        source="human" if via == "face" else "propagated",
        decision_id=word.decision_id,
        via=via,
    )


def _out(face: str, state: IdentityState, decision_id: str) -> Assignment:
    return Assignment(
        face_id=face,
        identity_id=None,
        state=state,
        confidence=1.0,
        source="human",
        decision_id=decision_id,
        via="face",
    )


def _unknown(face: str) -> Assignment:
    return Assignment(
        face_id=face, identity_id=None, state="unknown", confidence=0.0, source="auto", decision_id=None, via=None
    )


def _by_machine(sighting: Sighting, name: str, state: IdentityState, word: _Word | None) -> Assignment:
    return Assignment(
        face_id=sighting.face_id,
        identity_id=name,
        state=state,
        confidence=sighting.confidence,
        source="propagated" if word else "auto",
        decision_id=word.decision_id if word else None,
        via="cluster" if word else None,
    )

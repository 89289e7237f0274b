"""People's word closed over chains: are two faces one person, as far as people have said?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faceloop.clustering.ties import NO_PAIRS, Ties
from faceloop.identity.evidence import pairs_of, tracklets_apart
from facestore.decisions import Decision

TrackletOf = Callable[[str], str | None]  # of a face; None for one that is unknown
_TRACKLET = "\x1f"  # marks a tracklet among faces: no id holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What follows from the decisions that stand. Make it with `word_of`."""

    tracklet_of: TrackletOf
    row_of: Mapping[str, int]  # face, or marked tracklet → row of ties
    ties: Ties
    apart: frozenset[tuple[int, int]]  # groups of ties that are two persons, smaller first
    named: Mapping[int, str]  # group of ties → identity
    attributes: Mapping[tuple[str, str], str]  # face, name → value
    no_faces: frozenset[str]  # not_a_face and ignore
    answered: frozenset[str]  # questions that decisions cite

    def same(self, first: str, second: str) -> bool | None:
        """Whether people have said, in so many words or by a chain, that two faces are one person; None: not yet."""
        ends = self._group(first), self._group(second)
        if ends[0] is None or ends[1] is None:
            tracklet = self.tracklet_of(first)
            is_whole = tracklet is not None and tracklet == self.tracklet_of(second) and ends == (None, None)
            return True if is_whole or first == second else None
        if ends[0] == ends[1]:
            return True
        names = self.named.get(ends[0]), self.named.get(ends[1])
        is_apart = (min(ends[0], ends[1]), max(ends[0], ends[1])) in self.apart
        return False if is_apart or (None not in names and names[0] != names[1]) else None

    def _group(self, face_id: str) -> int | None:
        row = self.row_of.get(face_id)
        if row is None and (tracklet := self.tracklet_of(face_id)) is not None:
            row = self.row_of.get(_TRACKLET + tracklet)
        return None if row is None else int(self.ties.group_of[row])


def word_of(effective: Sequence[Decision], *, aliases: Mapping[str, str], tracklet_of: TrackletOf) -> Word:
    """The word of decisions that do not contradict one another (resolve.py), in any order.

    A tracklet shows one person, unless people say that it shows two: then only faces that they named are known.
    """
    said = pairs_of(effective, aliases)
    faces = sorted(said.faces)
    seen_in = {face: tracklet for face in faces if (tracklet := tracklet_of(face)) is not None}
    torn = tracklets_apart(effective, aliases, seen_in)
    whole = {face: _TRACKLET + tracklet for face, tracklet in seen_in.items() if tracklet not in torn}
    row_of = {name: row for row, name in enumerate([*faces, *sorted(set(whole.values()))])}
    pairs = [*said.must, *whole.items()]
    must = np.array([(row_of[one], row_of[other]) for one, other in pairs], np.int64).reshape(-1, 2)
    ties = Ties.between(must, NO_PAIRS, len(row_of))
    ends = ((int(ties.group_of[row_of[one]]), int(ties.group_of[row_of[other]])) for one, other in said.different)
    return Word(
        tracklet_of=tracklet_of,
        row_of=row_of,
        ties=ties,
        apart=frozenset((min(pair), max(pair)) for pair in ends),
        named={
            int(ties.group_of[row_of[decision.face_id]]): aliases.get(decision.identity_id, decision.identity_id)
            for decision in effective
            if decision.verb == "is" and decision.face_id and decision.identity_id
        },
        attributes={
            (decision.face_id, decision.name): decision.value
            for decision in sorted(effective, key=lambda said: (said.decided_at, said.decision_id))
            if decision.verb == "attribute" and decision.face_id and decision.name and decision.value is not None
        },
        no_faces=frozenset(
            said.face_id for said in effective if said.verb in ("not_a_face", "ignore") and said.face_id is not None
        ),
        answered=frozenset(said.question_id for said in effective if said.question_id is not None),
    )

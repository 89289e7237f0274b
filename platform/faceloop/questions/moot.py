"""Which questions need no answer any more: it is known from elsewhere, or what they are about is gone."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from faceloop.identity.standing import Standing, standing_of
from facereview.answers.claims import BOX, LANDMARKS, MISSED_FACE
from facereview.kinds import (
    Attributes,
    Boxes,
    Landmarks,
    OddOnesOut,
    SamePerson,
    Subject,
    WhoIsThis,
    asked_faces,
    subject_of,
)
from facestore.decisions import Decision
from facestore.questions import Question

NOT_DESCRIBING = {BOX, LANDMARKS, MISSED_FACE}  # attributes that say where a face is
MootReason = Literal["face_gone", "face_left_out", "answered_elsewhere"]


def moot(
    questions: Iterable[Question], *, effective: Iterable[Decision], aliases: Mapping[str, str], faces: Set[str]
) -> dict[str, MootReason]:
    """Question id → why nobody need answer it.

    `effective` decisions stand together (resolve.py), `aliases` maps a merged identity to the one that remains,
    `faces` are the accepted ones that exist. Chains of answers count, and what follows from a name. A honeypot is not
    moot because its answer is known, only because a face is gone. Linear in decisions and questions.
    """
    word = _Word.of(list(effective), aliases, faces)
    found: dict[str, MootReason] = {}
    for question in questions:
        subject = subject_of(question)
        why = _gone(subject, word.standing, faces)
        if why is None and question.expected is None and _is_known(subject, word):
            why = "answered_elsewhere"
        if why is not None:
            found[question.question_id] = why
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What people have said so far."""

    standing: Standing
    apart: frozenset[frozenset[str]]  # pairs of ties that differ
    described: frozenset[str]  # faces with attributes
    placed: frozenset[str]  # faces whose landmarks people have set

    @classmethod
    def of(cls, said: Sequence[Decision], aliases: Mapping[str, str], faces: Set[str]) -> "_Word":
        standing = standing_of(said, aliases=aliases, faces=faces)
        named = [(word.face_id, word.name) for word in said if word.verb == "attribute" and word.face_id is not None]
        return cls(
            standing=standing,
            apart=frozenset(frozenset(pair) for pair in standing.apart),
            described=frozenset(face for face, name in named if name not in NOT_DESCRIBING),
            placed=frozenset(face for face, name in named if name == LANDMARKS),
        )

    def knows_pair(self, first: str, second: str) -> bool:
        """Whether it says if two faces are one person."""
        one, other = self.standing.tie_of.get(first), self.standing.tie_of.get(second)
        if one is None or other is None:
            return False
        has_names = one.identity_id is not None and other.identity_id is not None
        differ = frozenset((one.tie_id, other.tie_id)) in self.apart
        return one.tie_id == other.tie_id or differ or (has_names and one.identity_id != other.identity_id)

    def ties(self, first: str, second: str) -> bool:
        """Whether it makes two faces one person."""
        one, other = self.standing.tie_of.get(first), self.standing.tie_of.get(second)
        return one is not None and other is not None and one.tie_id == other.tie_id

    def leaves_out(self, face: str) -> bool:
        """Whether a face counts no more."""
        return face in self.standing.rejected or face in self.standing.ignored


def _gone(subject: Subject, standing: Standing, faces: Set[str]) -> MootReason | None:
    """Of a grid or a frame the members that remain are still worth a look; without the reference there is none."""
    needed: tuple[str, ...]
    match subject:
        case OddOnesOut(reference=reference, members=members):
            if reference.face_ids[0] in faces and any(member.face_id in faces for member in members):
                needed = (reference.face_ids[0],)
            else:
                return "face_gone"
        case WhoIsThis(probe=probe):
            needed = (probe.face_ids[0],)
        case Boxes():
            return None
        case _:
            needed = asked_faces(subject)
    if not set(needed) <= faces:
        return "face_gone"
    return "face_left_out" if any(face in standing.rejected or face in standing.ignored for face in needed) else None


def _is_known(subject: Subject, word: _Word) -> bool:
    match subject:
        case SamePerson(left=left, right=right):
            return word.knows_pair(left.face_ids[0], right.face_ids[0])
        case OddOnesOut(reference=reference, members=members):
            still = [member.face_id for member in members if not word.leaves_out(member.face_id)]
            return all(word.knows_pair(reference.face_ids[0], face) for face in still)
        case WhoIsThis(probe=probe, candidates=candidates):
            tie = word.standing.tie_of.get(probe.face_ids[0])
            pairs = [(probe.face_ids[0], candidate.strip.face_ids[0]) for candidate in candidates]
            is_named = tie is not None and tie.identity_id is not None
            return is_named or any(word.ties(*pair) for pair in pairs) or all(word.knows_pair(*pair) for pair in pairs)
        case Attributes(strip=strip):
            return strip.face_ids[0] in word.described
        case Landmarks(face_id=face_id):
            return face_id in word.placed
        case Boxes():
            return False

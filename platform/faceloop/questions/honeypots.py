"""Questions whose answer people have already given: what annotators do with them tells how careful they are.

A honeypot looks like any other of its kind: reason, chance, gain and what is filled in are taken from an ordinary
question of the same plan, so nothing gives it away, and who accepts what is filled in without looking errs.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from faceloop.identity.standing import Standing
from faceloop.questions.situation import Situation
from facereview.kinds import (
    Answer,
    Candidate,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Strip,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
    ask,
    subject_of,
)
from facestore.questions import Question

_TRIES = 20  # draws for one honeypot before it is given up
_LOOKED_AT = 8  # people, for each stranger that is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPeople:
    """Persons whose faces people tied together, and whom of the others they are known not to be."""

    tracklets: Mapping[str, tuple[str, ...]]  # person → best face of each of his tracklets, at least two
    named: Mapping[str, str]  # person → the identity that people named; two names are two persons
    labelled: Mapping[str, str]  # person → identity that his faces have now
    apart: Mapping[str, frozenset[str]]  # person → those of whom people said that they are others

    def strangers(self, name: str, wanted: int, rng: np.random.Generator) -> list[str]:
        """Up to `wanted` who are surely somebody else, drawn at random: of few looked at, so none may be found."""
        names = sorted(self.tracklets)
        looked_at = sorted(self.apart.get(name, frozenset()))
        looked_at += [names[place] for place in rng.integers(len(names), size=_LOOKED_AT * wanted).tolist()]
        sure = [other for other in dict.fromkeys(looked_at) if self._are_strangers(name, other)]
        return list(_shuffled(sure, rng))[:wanted]

    def _are_strangers(self, name: str, other: str) -> bool:
        if name == other:
            return False
        named, also = self.named.get(name), self.named.get(other)
        return other in self.apart.get(name, ()) or (named is not None and also is not None and named != also)


def known_people(standing: Standing, situation: Situation) -> KnownPeople:
    """From people's word alone: a tie that they made, seen in two tracklets or more."""
    tracklets: dict[str, tuple[str, ...]] = {}
    labelled: dict[str, str] = {}
    named: dict[str, str] = {}
    shown = {face: row for row, shots in enumerate(situation.shots) for face in shots}
    for tie in standing.ties():
        best: dict[str, str] = {}
        faces = [situation.sight_of[face] for face in tie.face_ids if face in shown]
        for sight in sorted(faces, key=lambda sight: (-sight.quality, sight.face_id)):
            best.setdefault(sight.tracklet_id, sight.face_id)
        if len(best) < 2:
            continue
        tracklets[tie.tie_id] = tuple(best.values())
        label = int(situation.given.labels[shown[faces[0].face_id]])
        if (identity := situation.identity(label)) is not None:
            labelled[tie.tie_id] = identity
        if tie.identity_id is not None:
            named[tie.tie_id] = tie.identity_id
    apart: dict[str, set[str]] = defaultdict(set)
    for one, other in standing.apart:
        if one in tracklets and other in tracklets:
            apart[one].add(other)
            apart[other].add(one)
    return KnownPeople(
        tracklets=tracklets,
        named=named,
        labelled=labelled,
        apart={name: frozenset(others) for name, others in apart.items()},
    )


def make_honeypots(
    people: KnownPeople, plan: Sequence[Question], *, wanted: int, identities: int, seed: int
) -> list[Question]:
    """Up to `wanted` questions with the expected answer, each in the dress of one of the plan; no two alike.

    None with fewer than `identities` known people, or without a plan to hide in.
    """
    patterns = [question for question in plan if question.kind in ("same_person", "odd_ones_out", "who_is_this")]
    if len(people.tracklets) < identities or not patterns:
        return []
    rng = np.random.default_rng(seed)
    made: dict[str, Question] = {}
    for _ in range(_TRIES * wanted):
        if len(made) >= wanted:
            break
        pattern = patterns[int(rng.integers(len(patterns)))]
        found = _dressed(people, pattern, rng)
        if found is None:
            continue
        subject, expected = found
        question = ask(
            subject,
            subset=pattern.subset,
            reason=pattern.reason,
            reason_detail=pattern.reason_detail,
            model_version=pattern.model_version,
            chance=pattern.chance,
            gain=pattern.gain,
            seconds=pattern.seconds,
            needs=pattern.needs,
            expected=expected,
        )
        made.setdefault(question.question_id, question)
    return list(made.values())


def _dressed(people: KnownPeople, pattern: Question, rng: np.random.Generator) -> tuple[Subject, Answer] | None:
    subject = subject_of(pattern)
    names = sorted(people.tracklets)
    name = names[int(rng.integers(len(names)))]
    match subject:
        case SamePerson():
            return _same_person(people, name, subject, rng)
        case OddOnesOut():
            return _odd_ones_out(people, name, subject, rng)
        case WhoIsThis():
            return _who_is_this(people, name, subject, rng)
    return None


def _same_person(
    people: KnownPeople, name: str, like: SamePerson, rng: np.random.Generator
) -> tuple[Subject, Answer] | None:
    faces = _shuffled(people.tracklets[name], rng)
    half = max(1, len(faces) // 2)
    left, right, other = faces[:half], faces[half:], name
    if is_different := bool(rng.random() < 0.5):
        for other in people.strangers(name, 1, rng):
            left, right = faces, _shuffled(people.tracklets[other], rng)
        if other == name:
            return None
    shown = SamePerson(
        left=_strip(people, name, left, like.left),
        right=_strip(people, other, right, like.right),
        similarity=like.similarity,
        chance=like.chance,
    )
    return shown, SamePersonAnswer(verdict="different" if is_different else "same")


def _odd_ones_out(
    people: KnownPeople, name: str, like: OddOnesOut, rng: np.random.Generator
) -> tuple[Subject, Answer] | None:
    """One stranger or two among as many members as there are, at random places."""
    first, *own = _shuffled(people.tracklets[name], rng)
    others = people.strangers(name, min(len(like.members) - 1, int(rng.integers(1, 3))), rng)
    strangers = [_one(people.tracklets[other], rng) for other in others]
    faces = _shuffled((*own[: len(like.members) - len(strangers)], *strangers), rng)
    if len(faces) < 2 or not strangers:
        return None
    members = tuple(
        Member(face_id=face, chance=member.chance, is_doubtful=member.is_doubtful)
        for face, member in zip(faces, like.members, strict=False)
    )
    shown = OddOnesOut(reference=_strip(people, name, (first,), like.reference), members=members)
    return shown, OddOnesOutAnswer(verdict="sorted", strangers=tuple(face for face in faces if face in strangers))


def _who_is_this(
    people: KnownPeople, name: str, like: WhoIsThis, rng: np.random.Generator
) -> tuple[Subject, Answer] | None:
    """Among strangers to the probe, he himself at a random place, or not at all."""
    probe, *own = _shuffled(people.tracklets[name], rng)
    is_there = bool(rng.random() < 0.5)
    others = people.strangers(name, len(like.candidates) - is_there, rng)
    sides = [(other, _shuffled(people.tracklets[other], rng)) for other in others]
    place = int(rng.integers(len(sides) + 1))
    if is_there:
        sides.insert(place, (name, tuple(own)))
    if len(sides) < len(like.candidates):
        return None
    candidates = tuple(
        Candidate(strip=_strip(people, other, faces, was.strip), similarity=was.similarity, chance=was.chance)
        for (other, faces), was in zip(sides, like.candidates, strict=True)
    )
    shown = WhoIsThis(probe=_strip(people, name, (probe,), like.probe), candidates=candidates)
    if is_there:
        return shown, WhoIsThisAnswer(verdict="candidate", candidate=place)
    return shown, WhoIsThisAnswer(verdict="someone_new")


def _strip(people: KnownPeople, name: str, faces: Sequence[str], like: Strip) -> Strip:
    """As long as the other and, like it, with or without an identity."""
    identity = people.labelled.get(name) if like.identity_id is not None else None
    return Strip(face_ids=tuple(faces[: len(like.face_ids)]), identity_id=identity)


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(names[place] for place in rng.permutation(len(names)).tolist())


def _one(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]

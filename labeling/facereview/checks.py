"""How answers are checked without anybody noticing: honeypots between the questions, and questions asked of two."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from facestore.errors import ConfigError
from facestore.ids import digest_of
from facestore.questions import Question, QuestionKind

_HASHED = 16**12


def place_honeypots(
    questions: Sequence[Question], honeypots: Sequence[Question], *, share: float, seed: int
) -> list[Question]:
    """The plan with honeypots in it, ranked anew from 0; the order of the questions among themselves stays.

    Each kind gets its own, since projects hold one kind: one at a place drawn in each stretch of 1 / share of its
    questions, so they have neither a period nor gaps; fewer where honeypots run out. The same for any order of the
    input. Raises ConfigError for a share outside [0, 0.5], or a honeypot without its answer.
    """
    if not 0 <= share <= 0.5:
        raise ConfigError(f"honeypot_share is {share}; it lies inside [0, 0.5]")
    if any(honeypot.expected is None for honeypot in honeypots):
        raise ConfigError("a honeypot without an expected answer checks nobody; make it with `ask(…, expected=…)`")
    plan = sorted(questions, key=lambda question: (question.rank, question.question_id))
    places: dict[QuestionKind, list[int]] = defaultdict(list)
    for place, question in enumerate(plan):
        places[question.kind].append(place)
    before: dict[int, list[Question]] = defaultdict(list)
    for kind, own in sorted(places.items()):
        draw = random.Random(f"{seed} {kind}")
        pots = sorted((pot for pot in honeypots if pot.kind == kind), key=lambda pot: pot.question_id)
        draw.shuffle(pots)
        for pot, place in zip(pots, _drawn(own, share, draw), strict=False):
            before[place].append(pot)
    mixed = [found for place, question in enumerate(plan) for found in (*before[place], question)]
    return [replace(question, rank=rank) for rank, question in enumerate(mixed)]


def ask_twice(questions: Sequence[Question], *, share: float, seed: int) -> list[Question]:
    """Some of the questions, drawn by their ids, need two annotators who agree: the same ones in every plan.

    Without such a sample agreement would be that of questions that were hard enough to be asked again. Honeypots stay.
    Raises ConfigError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"overlap_share is {share}; it lies inside [0, 1]")
    return [
        replace(question, needs=max(2, question.needs))
        if question.expected is None and _is_drawn(question.question_id, share, seed)
        else question
        for question in questions
    ]


def _drawn(places: Sequence[int], share: float, draw: random.Random) -> list[int]:
    """One of each stretch of (1 - share) / share places; of a last, shorter one with its part of the chance."""
    if share == 0:
        return []
    length = (1 - share) / share
    found, start = [], 0.0
    while start < len(places):
        place = int(start + draw.random() * length)
        if place < len(places):
            found.append(places[place])
        start += length
    return found


def _is_drawn(question_id: str, share: float, seed: int) -> bool:
    return int(digest_of([seed, question_id])[:12], 16) < share * _HASHED

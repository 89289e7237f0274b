"""Made-up annotators at work: who answers what, what it comes to, what is asked again. No server, no pictures.

The machine's chance of a pair is uniform in [0.02, 0.98]; it is right as often as it says (`calibrated`), less often
(`too sure`: the square root of its odds would be right) or never better than a coin (`clueless`). Whoever is free takes
the next task: first one that wants another answer, then a new question; answers that settle nothing are asked again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from facereview.answers.claims import Claim
from facereview.answers.consensus import Trust, Vote, agree
from facereview.quality.skill import SkillParams, skills_of, trust_of
from facereview.quality.topics import Saying, Topic

Machine = Literal["calibrated", "too sure", "clueless"]
MACHINES: tuple[Machine, ...] = ("calibrated", "too sure", "clueless")
ERRORS = (0.03, 0.03, 0.03, 0.03, 0.20)
PARAMS = SkillParams(  # as in params.yaml
    prior_error=0.03,
    prior_weight=10.0,
    machine_limit=0.8,
    careless_error=0.08,
    careless_certainty=0.5,
    least_error=0.03,
)
CERTAINTY = 0.9
HELD_OUT = 10_000  # seeds from here on; the params were chosen on seeds 0 to 199
_START = datetime(2026, 1, 1, tzinfo=UTC)
_PULL = 50  # answers of all together between two estimates of skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    share: float = 0.10  # of honeypots among all tasks
    overlap: float = 0.10  # of questions of which two answers are wanted in any case; the first counts at once
    machine: Machine = "calibrated"
    answers: int = 100  # of each annotator
    rounds: int = 3  # 1: nothing is asked again
    errors: tuple[float, ...] = ERRORS
    is_weighed: bool = False  # answers count by skill, as estimated so far


@dataclass(slots=True, kw_only=True)
class _Asked:
    """One question and where it stands."""

    number: int
    chance: float
    is_same: bool
    is_honeypot: bool
    votes: list[Vote]
    wanted: int  # answers, until another round
    round: int = 1
    settled: bool | None = None  # as what


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    topics: list[Topic]
    settled: int  # questions
    right: int  # of which the answer that counts is true
    answers: int  # to questions, without honeypots


def work(setting: Setting, params: SkillParams, seed: int) -> Work:
    """What the annotators say, and what it comes to."""
    draw = random.Random(seed)
    left = [setting.answers] * len(setting.errors)
    asked: list[_Asked] = []
    given = 0
    trust = Trust(certainty=CERTAINTY, error_rate=params.prior_error, error_rates={})
    while any(left):
        who = draw.choice([place for place, count in enumerate(left) if count])
        question = _next(asked, who, setting, draw)
        said = question.is_same ^ (draw.random() < setting.errors[who])
        question.votes.append(_vote(question, who, given, is_same=said))
        left[who] -= 1
        given += 1
        _settle(question, trust, setting)
        if setting.is_weighed and given % _PULL == 0:
            trust = trust_of(skills_of(_topics(asked), params), certainty=CERTAINTY, params=params)
    plain = [question for question in asked if not question.is_honeypot]
    counted = [question for question in plain if question.settled is not None]
    return Work(
        topics=_topics(asked),
        settled=len(counted),
        right=sum(question.settled == question.is_same for question in counted),
        answers=sum(len(question.votes) for question in plain),
    )


def _next(asked: list[_Asked], who: int, setting: Setting, draw: random.Random) -> _Asked:
    for question in asked:
        if len(question.votes) < question.wanted and all(vote.annotator != _name(who) for vote in question.votes):
            return question
    is_honeypot = draw.random() < setting.share
    chance = draw.uniform(0.02, 0.98)
    odds = chance / (1 - chance)
    truth = {"calibrated": chance, "too sure": odds**0.5 / (1 + odds**0.5), "clueless": 0.5}[setting.machine]
    wanted = 2 if not is_honeypot and draw.random() < setting.overlap else 1
    asked.append(
        _Asked(
            number=len(asked),
            chance=chance,
            is_same=draw.random() < truth,
            is_honeypot=is_honeypot,
            votes=[],
            wanted=wanted,
        )
    )
    return asked[-1]


def _name(who: int) -> str:
    return f"server/{who + 1}"


def _vote(question: _Asked, who: int, number: int, *, is_same: bool) -> Vote:
    claim = Claim(
        verb="same" if is_same else "different",
        face_id=f"{question.number:06d}a",
        other_face_id=f"{question.number:06d}b",
        chance=question.chance if is_same else 1 - question.chance,
    )
    return Vote(
        annotator=_name(who),
        annotation_id=number + 1,
        version=1,
        answered_at=_START + timedelta(seconds=5 * number),
        claims=(claim,),
    )


def _settle(question: _Asked, trust: Trust, setting: Setting) -> None:
    """What counts, or that it is asked again."""
    consensus = agree(question.votes, needs=1, trust=trust)
    question.settled = consensus.settled[0].claim.verb == "same" if consensus.state == "settled" else None
    is_asked_again = question.settled is None and not question.is_honeypot and question.round < setting.rounds
    if len(question.votes) == question.wanted and is_asked_again:
        question.wanted += 1
        question.round += 1


def _topics(asked: Sequence[_Asked]) -> list[Topic]:
    return [
        Topic(
            question_id=f"{question.number:012d}",
            kind="same_person",
            name="answer",
            sayings=tuple(
                Saying(annotator=vote.annotator, word=vote.claims[0].verb)
                for vote in sorted(question.votes, key=lambda vote: vote.annotator)
            ),
            right=("same" if question.is_same else "different") if question.is_honeypot else None,
            chances=(("different", 1 - question.chance), ("same", question.chance)),
            weight=1.0,
        )
        for question in asked
        if question.votes
    ]

"""What somebody has to decide: questions that further answers will not settle, with everybody's word."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from facereview.answers.consensus import Trust
from facereview.quality.topics import latest_answers
from facestore.questions import AnnotationVersion, Question, QuestionState, Settlement

_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """One annotator's answer and how much it weighs."""

    annotator: str
    unique_id: str  # of the annotation
    version: int
    answer: str  # canonical JSON of the typed answer
    answered_at: datetime  # UTC
    weight: float  # what it adds to the log-odds, >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One row of the queue."""

    question: Question
    state: QuestionState  # disputed, or unsettled: nobody contradicts, but too few believe it
    waits_since: datetime  # of the last answer
    testimonies: tuple[Testimony, ...]  # weightiest first
    urgency: float  # pair-days: gain × days waited, the first day counted whole


def queue_of(
    questions: Iterable[Question],
    settlements: Mapping[str, Settlement],
    annotations: Iterable[AnnotationVersion],
    *,
    trust: Trust,
    at: datetime,
) -> list[Dispute]:
    """Most urgent first: what is worth most, and what waits longest. `questions` are those that are asked no more
    (`rounds.undecided`); honeypots and what is settled by now are left out. The same for any order of the input.
    """
    standing = latest_answers(annotations)
    found = []
    for question in questions:
        settlement, answers = settlements.get(question.question_id), standing.get(question.question_id, [])
        if settlement is None or settlement.state not in ("disputed", "unsettled") or not answers:
            continue
        if question.expected is None:
            found.append(_dispute(question, settlement, answers, trust, at))
    return sorted(found, key=lambda row: (-row.urgency, row.waits_since, row.question.question_id))


def _dispute(
    question: Question, settlement: Settlement, answers: Iterable[AnnotationVersion], trust: Trust, at: datetime
) -> Dispute:
    testimonies = [
        Testimony(
            annotator=version.annotator,
            unique_id=version.unique_id,
            version=version.version,
            answer=version.answer,
            answered_at=version.updated_at,
            weight=trust.weight(version.annotator),
        )
        for version in answers
        if version.answer is not None
    ]
    waits_since = max(testimony.answered_at for testimony in testimonies)
    days = 1 + max(0.0, (at - waits_since).total_seconds()) / _DAY_S
    return Dispute(
        question=question,
        state=settlement.state,
        waits_since=waits_since,
        testimonies=tuple(sorted(testimonies, key=lambda one: (-one.weight, one.annotator))),
        urgency=question.gain * days,
    )

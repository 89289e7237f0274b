"""Questions that were offered beside the plan of `select`, by mining for instance: push asks them after the plan."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from facestore.questions import CLOSED, Question
from facestore.reviewlog import ReviewLog

_BESIDE_PLAN = 1_000_000  # ranks from here on are no places in a plan


def offer_beside_plan(log: ReviewLog, questions: Sequence[Question], *, now: datetime) -> int:
    """Offer questions, most worth first. Those that people were asked or the plan holds stay as they are.

    Returns how many of them wait for an answer.
    """
    known = {question.question_id for question in log.questions([question.question_id for question in questions])}
    new = [question for question in questions if question.question_id not in known]
    log.offer([replace(question, rank=_BESIDE_PLAN + place) for place, question in enumerate(new)], at=now)
    settlements = log.settlements([question.question_id for question in questions])
    closed = {key for key, found in settlements.items() if found.state in CLOSED}
    return len({question.question_id for question in questions} - closed)


def beside_plan(log: ReviewLog, plan: Collection[str]) -> list[Question]:
    """What was offered so, is not in the plan, and is not closed; by rank."""
    closed = {key for key, found in log.settlements().items() if found.state in CLOSED}
    return [
        question
        for question in log.questions()
        if question.rank >= _BESIDE_PLAN and question.question_id not in plan and question.question_id not in closed
    ]

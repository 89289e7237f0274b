"""Which settled questions another annotator is asked too."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from faceloop.review.access import review_params
from faceloop.review.quality import quality_now, shared_questions, trust_from
from faceloop.runner import Workspace
from facereview.quality.risk import risks_of
from facereview.quality.skill import to_recheck
from facestore.questions import AnnotationVersion, Question
from facestore.reviewlog import ReviewLog


def ask_again(work: Workspace, log: ReviewLog, plan: Sequence[Question], *, now: datetime) -> int:
    """Open settled questions to another annotator: the sample that two answer, decisions that stand on careless
    annotators alone, and those where a slip would cost more pairs a minute than the least question of the plan.

    What was decided stays decided until the next answer is there. Each question once; returns how many.
    """
    params, found = review_params(work), quality_now(work, log)
    if params.max_rounds == 1:
        return 0
    settlements = log.settlements()
    risks = risks_of(found.questions, found.annotations, settlements, trust_from(params, found.skills))
    least = max(params.quality.recheck_gain_per_minute, _least_gain(plan))
    doubted = {
        *shared_questions(params, found.questions),
        *to_recheck(found.skills, found.questions, found.annotations, settlements),
        *(key for key, risk in risks.items() if risk >= least),
    }
    rounds = Counter(task.question_id for task in log.tasks())
    people = _who_answered(found.annotations)
    again = [
        replace(settlements[key], state="unsettled", changed_at=now)
        for key in sorted(doubted)
        if key in settlements and settlements[key].state == "settled" and rounds[key] == 1 and len(people[key]) == 1
    ]
    log.record([], again, [])
    return len(again)


def _least_gain(plan: Iterable[Question]) -> float:
    """Pairs of faces a minute that the plan's least question about who is who is worth; 0 without one."""
    gains = [60 * question.gain / question.seconds for question in plan if question.gain > 0]
    return min(gains, default=0.0)


def _who_answered(annotations: Iterable[AnnotationVersion]) -> dict[str, set[str]]:
    people = defaultdict[str, set[str]](set)
    for version in annotations:
        if version.state == "answered":
            people[version.question_id].add(version.annotator)
    return people

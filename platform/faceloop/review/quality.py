"""How far each annotator is believed, from all answers so far."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from faceloop.review.access import review_params
from faceloop.review_params import ReviewParams
from faceloop.runner import Workspace
from facereview.answers.consensus import Trust
from facereview.quality.checks import drawn
from facereview.quality.pace import PaceParams
from facereview.quality.skill import Skill, SkillParams, skills_of, to_recheck, trust_of
from facereview.quality.topics import Topic, topics_of
from facestore.questions import AnnotationVersion, Question
from facestore.reviewlog import ReviewLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What all answers say about those who gave them."""

    questions: tuple[Question, ...]
    annotations: tuple[AnnotationVersion, ...]  # latest versions
    topics: tuple[Topic, ...]
    skills: tuple[Skill, ...]


def quality_now(work: Workspace, log: ReviewLog) -> Quality:
    params = review_params(work)
    annotations = log.annotations()
    questions = tuple(log.questions())
    topics = topics_of(questions, annotations)
    return Quality(
        questions=questions,
        annotations=tuple(annotations),
        topics=tuple(topics),
        skills=tuple(skills_of(topics, skill_params(params))),
    )


def trust_now(work: Workspace, log: ReviewLog) -> Trust:
    """Raises ConfigError for params that do not hold together."""
    return trust_from(review_params(work), quality_now(work, log).skills)


def trust_from(params: ReviewParams, skills: Sequence[Skill]) -> Trust:
    return trust_of(skills, certainty=params.certainty, params=skill_params(params))


def shared_questions(params: ReviewParams, questions: Iterable[Question]) -> set[str]:
    """Those that two people answer."""
    return drawn(questions, share=params.quality.overlap_share, seed=params.quality.overlap_seed)


def ask_again(work: Workspace, log: ReviewLog, *, now: datetime) -> int:
    """Open settled questions to another annotator: the sample that two answer, and decisions that stand on careless
    annotators alone. What was decided stays decided until the next answer is there. Each once; returns how many.
    """
    params, found = review_params(work), quality_now(work, log)
    settlements = log.settlements()
    doubted = to_recheck(found.skills, found.questions, found.annotations, settlements)
    rounds = Counter(task.question_id for task in log.tasks())
    people = defaultdict[str, set[str]](set)
    for version in found.annotations:
        if version.state == "answered":
            people[version.question_id].add(version.annotator)
    again = [
        replace(settlements[key], state="unsettled", changed_at=now)
        for key in sorted(shared_questions(params, found.questions).union(doubted))
        if key in settlements
        and settlements[key].state == "settled"
        and rounds[key] == 1
        and len(people[key]) == 1
        and params.max_rounds > 1
    ]
    log.record([], again, [])
    return len(again)


def skill_params(params: ReviewParams) -> SkillParams:
    quality = params.quality
    return SkillParams(
        prior_error=params.error_rate,
        prior_weight=quality.prior_weight,
        machine_limit=quality.machine_limit,
        careless_error=quality.careless_error,
        careless_certainty=quality.careless_certainty,
        least_error=quality.least_error,
    )


def pace_params(params: ReviewParams) -> PaceParams:
    return PaceParams(longest_s=params.quality.longest_s, hasty_s=params.quality.hasty_s)

"""How far each annotator is believed, from all answers so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from faceloop.review.access import review_params
from faceloop.review_params import ReviewParams
from faceloop.runner import Workspace
from facereview.answers.consensus import Trust
from facereview.quality.checks import drawn
from facereview.quality.pace import PaceParams
from facereview.quality.skill import Skill, SkillParams, skills_of, trust_of
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

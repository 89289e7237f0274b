"""How often each annotator errs, from honeypots and from questions that several answered, and what follows from it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facereview.answers.consensus import Trust
from facereview.quality.slips import RATES_G, Floats, rate_posteriors
from facereview.quality.topics import Topic, latest_answers
from facestore.errors import ConfigError
from facestore.questions import AnnotationVersion, Question, Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillParams:
    """Raises ConfigError for a value outside its range."""

    prior_error: float  # error rate of an annotator about whom nothing is known, in (0, 0.5)
    prior_weight: float  # answers that this expectation is worth, > 0
    machine_limit: float  # how sure the machine may be of a truth that nobody knows, [0.5, 1): 0.5 asks people only
    careless_error: float  # error rate from which an annotator is careless, in (0, 0.5)
    careless_certainty: float  # probability from which it is said, in [0.5, 1)
    least_error: float  # nobody is believed to err less: people share mistakes, in (0, 0.5)

    def __post_init__(self) -> None:
        halves = (self.prior_error, self.careless_error, self.least_error)
        if not all(0 < rate < 0.5 for rate in halves) or not self.prior_weight > 0:
            raise ConfigError("error rates lie inside (0, 0.5), prior_weight above 0; correct review.quality")
        if not 0.5 <= self.machine_limit < 1 or not 0.5 <= self.careless_certainty < 1:
            raise ConfigError("machine_limit and careless_certainty lie inside [0.5, 1); correct review.quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """What is known of one annotator."""

    annotator: str
    answers: int  # questions answered; who could not tell did not answer
    honeypots: int
    honeypots_wrong: int  # of which at least one topic is wrong
    compared: int  # other questions that somebody else answered too
    agreement: float | None  # share of those others who said the same, [0, 1]; None: nobody to compare with
    error_rate: float  # posterior mean, in (0, 0.5)
    error_low: float  # 5 % quantile
    error_high: float  # 95 % quantile
    careless: float  # probability that the error rate is at least `careless_error`, [0, 1]
    is_careless: bool


def skills_of(topics: Sequence[Topic], params: SkillParams) -> list[Skill]:
    """Of every annotator who said something, in their order; independent of the order of topics."""
    rows = sorted(topics, key=lambda topic: (topic.question_id, topic.name))
    names = sorted({saying.annotator for topic in rows for saying in topic.sayings})
    if not names:
        return []
    posterior_ag = rate_posteriors(
        rows,
        names,
        prior_error=params.prior_error,
        prior_weight=params.prior_weight,
        machine_limit=params.machine_limit,
    )
    own: dict[str, list[tuple[Topic, str]]] = {name: [] for name in names}
    for topic in rows:
        for saying in topic.sayings:
            own[saying.annotator].append((topic, saying.word))
    return [_skill(name, own[name], posterior_g, params) for name, posterior_g in zip(names, posterior_ag, strict=True)]


def trust_of(skills: Sequence[Skill], *, certainty: float, params: SkillParams) -> Trust:
    """How far answers are believed when they are settled. Raises ConfigError for a certainty outside (0.5, 1)."""
    rates = {skill.annotator: max(skill.error_rate, params.least_error) for skill in skills}
    return Trust(certainty=certainty, error_rate=params.prior_error, error_rates=rates)


def to_recheck(
    skills: Sequence[Skill],
    questions: Iterable[Question],
    annotations: Iterable[AnnotationVersion],
    settlements: Mapping[str, Settlement],
) -> list[str]:
    """Ids of questions whose decisions stand on careless annotators' words alone, most worth first: ask them again.

    Nothing is taken back for it. Honeypots make no decisions and are not among them.
    """
    careless = {skill.annotator for skill in skills if skill.is_careless}
    standing = latest_answers(annotations)
    found = [
        question
        for question in questions
        if question.expected is None
        and (settlement := settlements.get(question.question_id)) is not None
        and settlement.decision_ids
        and {version.annotator for version in standing.get(question.question_id, ())} <= careless
    ]
    return [question.question_id for question in sorted(found, key=lambda one: (-one.gain, one.question_id))]


def _skill(name: str, said: Sequence[tuple[Topic, str]], posterior_g: Floats, params: SkillParams) -> Skill:
    """`said` is every topic of which the annotator said something, and what."""
    known = [(topic, word) for topic, word in said if topic.right is not None]
    shared = [(topic, word) for topic, word in said if topic.right is None and len(topic.sayings) > 1]
    pairs = sum(topic.weight * (len(topic.sayings) - 1) for topic, _ in shared)
    agreed = sum(topic.weight * (sum(saying.word == word for saying in topic.sayings) - 1) for topic, word in shared)
    careless = float(posterior_g[params.careless_error <= RATES_G].sum())
    return Skill(
        annotator=name,
        answers=len({topic.question_id for topic, _ in said}),
        honeypots=len({topic.question_id for topic, _ in known}),
        honeypots_wrong=len({topic.question_id for topic, word in known if word != topic.right}),
        compared=len({topic.question_id for topic, _ in shared}),
        agreement=agreed / pairs if pairs else None,
        error_rate=float(posterior_g @ RATES_G),
        error_low=_quantile(posterior_g, 0.05),
        error_high=_quantile(posterior_g, 0.95),
        careless=careless,
        is_careless=careless >= params.careless_certainty,
    )


def _quantile(posterior_g: Floats, share: float) -> float:
    place = int(np.searchsorted(np.cumsum(posterior_g), share))
    return float(RATES_G[min(place, len(RATES_G) - 1)])

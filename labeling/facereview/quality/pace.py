"""How long answers take and what a minute buys. Coffee breaks count as the cap, not as what the clock says."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from facereview.quality.topics import latest_answers
from facestore.errors import ConfigError
from facestore.questions import AnnotationVersion, Question, QuestionKind, Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceParams:
    """Raises ConfigError for a value outside its range."""

    longest_s: float  # of an answer; a longer one counts as this: somebody was away
    hasty_s: float  # an answer in less time was not looked at, >= 0 and below `longest_s`

    def __post_init__(self) -> None:
        if not 0 <= self.hasty_s < self.longest_s:
            raise ConfigError(f"hasty_s {self.hasty_s} lies inside [0, longest_s {self.longest_s}); correct the params")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds an answer of one kind and annotator, or of all annotators (None)."""

    kind: QuestionKind
    annotator: str | None
    answers: int  # whose time is known
    low_s: float  # quartiles
    median_s: float
    high_s: float
    mean_s: float
    interrupted: int  # counted as `longest_s`
    hasty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What people's time has bought. None where there is nothing to divide by."""

    answers: int
    minutes: float  # answers without a time take what is planned for their question
    settled: int  # questions
    gain: float  # pairs of faces that the settled questions were expected to put right
    gain_per_answer: float | None
    gain_per_minute: float | None
    minutes_per_1000_identities: float | None


def paces_of(questions: Iterable[Question], annotations: Iterable[AnnotationVersion], params: PaceParams) -> list[Pace]:
    """Of every kind, all annotators first, then each; only answers that stand and whose time is known."""
    kinds = {question.question_id: question.kind for question in questions}
    seconds: dict[tuple[QuestionKind, str], list[float]] = defaultdict(list)
    for version in _timed(annotations):
        if version.question_id in kinds and version.lead_time_s is not None:
            for annotator in ("", version.annotator):
                seconds[kinds[version.question_id], annotator].append(version.lead_time_s)
    return [_pace(kind, annotator or None, times, params) for (kind, annotator), times in sorted(seconds.items())]


def hasty_answers(annotations: Iterable[AnnotationVersion], params: PaceParams) -> list[AnnotationVersion]:
    """Answers given faster than anybody can look, in the order of questions and annotators."""
    return [v for v in _timed(annotations) if v.lead_time_s is not None and v.lead_time_s < params.hasty_s]


def effort_of(
    questions: Sequence[Question],
    annotations: Iterable[AnnotationVersion],
    settlements: Mapping[str, Settlement],
    params: PaceParams,
    *,
    identities: int,
) -> Effort:
    """Honeypots and second answers cost time as all others. `identities` >= 0: those that people work on."""
    planned = {question.question_id: question.seconds for question in questions}
    versions = [version for version in _timed(annotations) if version.question_id in planned]
    seconds = sum(
        planned[version.question_id] if version.lead_time_s is None else min(version.lead_time_s, params.longest_s)
        for version in versions
    )
    settled = [
        question
        for question in questions
        if question.expected is None
        and (found := settlements.get(question.question_id)) is not None
        and found.state == "settled"
    ]
    gain = sum(question.gain for question in settled)
    return Effort(
        answers=len(versions),
        minutes=seconds / 60,
        settled=len(settled),
        gain=gain,
        gain_per_answer=gain / len(versions) if versions else None,
        gain_per_minute=gain / (seconds / 60) if seconds else None,
        minutes_per_1000_identities=seconds / 60 / identities * 1000 if identities else None,
    )


def _timed(annotations: Iterable[AnnotationVersion]) -> list[AnnotationVersion]:
    return [version for versions in latest_answers(annotations).values() for version in versions]


def _pace(kind: QuestionKind, annotator: str | None, times: Sequence[float], params: PaceParams) -> Pace:
    counted = sorted(min(time, params.longest_s) for time in times)
    low_s, median_s, high_s = (float(value) for value in np.quantile(counted, (0.25, 0.5, 0.75)))
    return Pace(
        kind=kind,
        annotator=annotator,
        answers=len(times),
        low_s=low_s,
        median_s=median_s,
        high_s=high_s,
        mean_s=fmean(counted),
        interrupted=sum(time > params.longest_s for time in times),
        hasty=sum(time < params.hasty_s for time in times),
    )

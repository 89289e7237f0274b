"""Several simulated runs as one curve: the mean at each number of questions, and the span of the runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from faceloop.questions.oracle import Progress
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Pairwise F after so many questions, over runs with different seeds."""

    questions: int
    minutes: float  # mean
    pairwise_f: float  # mean
    lowest_f: float
    highest_f: float


def average_curve(runs: Sequence[Sequence[Progress]]) -> list[CurvePoint]:
    """One point for every number of questions that any run stopped at; a run that ended keeps its last scores.

    Raises DataError without runs, or with an empty one.
    """
    if not runs or not all(runs):
        raise DataError("there is no run to draw; simulate at least one seed")
    points = []
    for questions in sorted({progress.questions for run in runs for progress in run}):
        here = [next(progress for progress in reversed(run) if progress.questions <= questions) for run in runs]
        scores = [progress.pairwise_f for progress in here]
        points.append(
            CurvePoint(
                questions=questions,
                minutes=sum(progress.minutes for progress in here) / len(here),
                pairwise_f=sum(scores) / len(scores),
                lowest_f=min(scores),
                highest_f=max(scores),
            )
        )
    return points

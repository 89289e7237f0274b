"""Which questions are asked again: those whose task was lost, and those whose answers did not settle them.

Label Studio gives a task to nobody twice, but a new task is a new chance: whoever answered the first round may get the
second. So `consensus` counts annotators, not answers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from facereview.asking.projects import Group
from facestore.questions import AnnotationVersion, Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question to be asked, and for which time. With `last_round` answers that contradict wait for a decision."""

    question: Question
    round: int  # from 1
    asking: int  # of the round, from 1

    @property
    def group(self) -> Group:
        """The first round gets all the annotators that a question needs at once, each further one another annotator."""
        return Group(
            kind=self.question.kind,
            round=self.round,
            overlap=self.question.needs if self.round == 1 else 1,
            model_version=self.question.model_version,
        )


def again(log: ReviewLog) -> list[Asking]:
    """Questions whose last task was lost before it had its answers; by rank."""
    world = _World.of(log)
    return [
        Asking(question=world.questions[last.question_id], round=last.round, asking=last.asking + 1)
        for last in world.last
        if last.state in ("lost", "withdrawn") and not world.is_answered(last)
    ]


def further(log: ReviewLog, *, max_rounds: int) -> list[Asking]:
    """Questions whose every asked annotator has answered without settling them: round 2, 3 … up to `max_rounds`, then
    once for somebody who decides; by rank. Never honeypots: their right answer is known.
    """
    world = _World.of(log)
    settlements = log.settlements(world.questions)
    found = []
    for last in world.last:
        question, settlement = world.questions[last.question_id], settlements.get(last.question_id)
        is_unsettled = settlement is not None and settlement.state in ("unsettled", "disputed")
        if is_unsettled and question.expected is None and last.round <= max_rounds and world.is_answered(last):
            found.append(Asking(question=question, round=last.round + 1, asking=1))
    return found


def undecided(log: ReviewLog, *, max_rounds: int) -> list[Question]:
    """Questions that the last round did not settle either: they stay as they are, and people see them in the status."""
    world = _World.of(log)
    return [
        world.questions[last.question_id]
        for last in world.last
        if last.round > max_rounds and world.is_answered(last) and world.questions[last.question_id].expected is None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """Questions that are asked and not closed."""

    questions: Mapping[str, Question]
    last: Sequence[ReviewTask]  # of each, by rank
    answers: Mapping[tuple[str, int], int]  # by project key and task id
    projects: Mapping[str, ReviewProject]

    @classmethod
    def of(cls, log: ReviewLog) -> "_World":
        tasks = last_askings(log.waiting())
        questions = {question.question_id: question for question in log.questions([task.question_id for task in tasks])}
        return cls(
            questions=questions,
            last=sorted(tasks, key=lambda task: (questions[task.question_id].rank, task.question_id)),
            answers=answers_by_task(log.annotations(question_ids=questions)),
            projects={project.key: project for project in log.projects()},
        )

    def is_answered(self, task: ReviewTask) -> bool:
        given = 0 if task.task_id is None else self.answers.get((task.project_key, task.task_id), 0)
        return given >= self.projects[task.project_key].overlap


def last_askings(tasks: Iterable[ReviewTask]) -> list[ReviewTask]:
    """The latest asking of the latest round of each question; `tasks` in the order that the log gives them."""
    return [list(rows)[-1] for _, rows in groupby(tasks, key=lambda task: task.question_id)]


def answers_by_task(versions: Iterable[AnnotationVersion]) -> Counter[tuple[str, int]]:
    """Answers that stand, by project key and task id. Who skipped a task has not answered it: others get it."""
    return Counter(
        (version.project_key, version.task_id) for version in versions if version.state in ("answered", "unreadable")
    )

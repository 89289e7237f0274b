"""Which questions of a plan are new, known already, or asked by another one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facereview.asking.rounds import Asking
from facereview.asking.twins import Topic, topic_of
from facestore.errors import DataError
from facestore.questions import Question
from facestore.reviewlog import ReviewLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which questions of a plan are to be asked."""

    askings: tuple[Asking, ...]  # by rank
    withdrawn: tuple[str, ...]  # those of them that were withdrawn before
    known: int
    twins: int


def choose(questions: Iterable[Question], log: ReviewLog, group_of_face: Mapping[str, str]) -> Choice:
    """Those asked before are not asked again, unless they were withdrawn; of twins the first by rank is asked. The
    questions are known to the log, and asked as that has them.
    """
    ids = {question.question_id for question in questions}
    given = sorted(log.questions(ids), key=lambda question: (question.rank, question.question_id))
    settlements = log.settlements(ids)
    askings_before = Counter(task.question_id for task in log.tasks(question_ids=ids) if task.round == 1)
    waiting = {task.question_id for task in log.waiting()}
    topics = {topic for question in log.questions(waiting) if (topic := _topic(question, group_of_face))}
    found: list[Asking] = []
    withdrawn: list[str] = []
    known = twins = 0
    for question in given:
        settlement = settlements.get(question.question_id)
        is_withdrawn = settlement is not None and settlement.state == "withdrawn"
        topic = _topic(question, group_of_face)
        if not is_withdrawn and (settlement is not None or question.question_id in askings_before):
            known += 1
        elif topic is not None and topic in topics:
            twins += 1
        else:
            if topic is not None:
                topics.add(topic)
            asking = 1 + askings_before[question.question_id]
            found.append(Asking(question=question, round=1, asking=asking))
            withdrawn += [question.question_id] if is_withdrawn else []
    return Choice(askings=tuple(found), withdrawn=tuple(withdrawn), known=known, twins=twins)


def _topic(question: Question, group_of_face: Mapping[str, str]) -> Topic | None:
    """None also for a subject that cannot be read: it is refused when it would be shown."""
    try:
        return topic_of(question, group_of_face)
    except DataError:
        return None

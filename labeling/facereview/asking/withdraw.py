"""Questions that are moot leave the labelling tool, and pictures leave the shelf. What people said or began stays."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from facereview.asking.projects import key_in
from facereview.asking.rounds import answers_by_task
from facereview.asking.survey import is_touched
from facereview.pictures import Shelf
from facereview.server import ReviewServer, ServerTask
from facestore.errors import ServerGone
from facestore.questions import CLOSED, ReviewProject, ReviewTask, Settlement, TaskState
from facestore.reviewlog import ReviewLog

_ASKED: tuple[TaskState, ...] = ("planned", "pushed", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What became of the questions that are moot."""

    question_ids: tuple[str, ...]  # that left
    kept: Mapping[str, str]  # by question why it stays: `answered`, `begun`, `closed` before, `unknown` to the log


def withdraw(
    question_ids: Collection[str], *, log: ReviewLog, server: ReviewServer, shelf: Shelf, now: datetime
) -> Withdrawn:
    """Delete the tasks of these questions, unless somebody answered or is at it; one that was never asked will not be.

    Between the look and the deletion an annotator may submit: that answer goes with the task. Waits for a push that
    runs. Raises StoreError and what the server raises; questions done by then are done.
    """
    kept: dict[str, str] = {}
    left: list[str] = []
    with log.alone("push"):
        known = {question.question_id for question in log.questions(question_ids)}
        answered = {version.question_id for version in log.annotations(question_ids=question_ids)}
        settlements = log.settlements(question_ids)
        desk = _Desk.of(log, server)
        for question_id in sorted(set(question_ids)):
            settlement = settlements.get(question_id)
            if question_id not in known:
                kept[question_id] = "unknown"
            elif settlement is not None and settlement.state in CLOSED:
                kept[question_id] = "closed"
            elif question_id in answered:
                kept[question_id] = "answered"
            elif not desk.clear(log.tasks(states=_ASKED, question_ids=[question_id]), now):
                kept[question_id] = "begun"
            else:
                gone = Settlement(question_id=question_id, state="withdrawn", decision_ids=(), changed_at=now)
                log.record([], [gone], [])
                shelf.remove(question_id)
                left.append(question_id)
    return Withdrawn(question_ids=tuple(left), kept=kept)


def put_away(
    question_ids: Collection[str], *, log: ReviewLog, server: ReviewServer, shelf: Shelf, now: datetime
) -> int:
    """After a pull: delete tasks of closed questions that nobody touched, and take their pictures off the shelf.

    Answered tasks stay as they are, without pictures. Questions that are not closed are left alone. Returns how many
    were put away. Raises StoreError and what the server raises.
    """
    with log.alone("push"):
        settlements = log.settlements(question_ids)
        desk = _Desk.of(log, server)
        closed = sorted(key for key, settlement in settlements.items() if settlement.state in CLOSED)
        answers = answers_by_task(log.annotations(question_ids=closed))
        for task in log.tasks(states=_ASKED, question_ids=closed):
            if not answers[task.project_key, task.task_id or 0]:
                desk.clear([task], now)
        for question_id in closed:
            shelf.remove(question_id)
    return len(closed)


def sweep_shelf(log: ReviewLog, shelf: Shelf) -> int:
    """Take away pictures of questions that nobody is asked: leftovers of kills. Returns of how many questions."""
    leftovers = shelf.held() - {task.question_id for task in log.waiting()}
    for question_id in sorted(leftovers):
        shelf.remove(question_id)
    return len(leftovers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """The tasks of one server, one by one."""

    log: ReviewLog
    server: ReviewServer
    projects: Mapping[str, ReviewProject]  # that are there and ours, by key

    @classmethod
    def of(cls, log: ReviewLog, server: ReviewServer) -> "_Desk":
        keys = {project.project_id: key_in(project.description) for project in server.projects()}
        ours = [project for project in log.projects() if project.instance == server.instance]
        return cls(
            log=log,
            server=server,
            projects={project.key: project for project in ours if keys.get(project.project_id) == project.key},
        )

    def clear(self, tasks: Sequence[ReviewTask], now: datetime) -> bool:
        """Delete the tasks, unless somebody is at one of them: then none is, and the answer is False."""
        there = [found for task in tasks if (found := self._found(task)) is not None]
        if any(is_touched(found) for found in there):
            return False
        for found in there:
            with suppress(ServerGone):  # somebody was quicker
                self.server.delete_task(found.task_id)
        # the tool gives the id of its newest task, once that is deleted, to the next one
        self.log.change_tasks([replace(task, task_id=None, state="withdrawn", changed_at=now) for task in tasks])
        return True

    def _found(self, task: ReviewTask) -> ServerTask | None:
        """The server's task, if that is still ours: ids are reused."""
        project = self.projects.get(task.project_key)
        if project is None or task.task_id is None:
            return None
        try:
            found = self.server.task(task.task_id)
        except ServerGone:
            return None
        is_same = found.project_id == project.project_id and found.question_id in (task.question_id, None)
        return found if is_same else None

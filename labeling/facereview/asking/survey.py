"""What became of the tasks that we planned or made: a look at the server, and the log put right by it.

It is what a push starts with, so that one that was killed, or whose server was restored from a backup, is completed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from facereview.asking.making import by_project
from facereview.asking.projects import Projects, Say
from facereview.server import ReviewServer, ServerTask
from facestore.errors import ServerGone
from facestore.questions import ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

Place = tuple[str, int]  # project key and task id


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Tasks that wait, as the server has them."""

    interrupted: tuple[ReviewTask, ...]  # planned and never made
    answers: Mapping[Place, int]  # that were given, pulled or not
    touched: frozenset[Place]  # somebody answered, skipped or is at it
    adopted: int  # made, but never written down as such
    lost: int  # their project or task is gone
    doubles: int  # made twice; the second one was taken away again


def survey(
    log: ReviewLog,
    server: ReviewServer,
    projects: Projects,
    *,
    now: datetime,
    say: Say,
    only: frozenset[str] = frozenset(),
) -> Survey:
    """`only`: keys of projects to look into; none: all with questions that wait. Raises StoreError and what the server
    raises; what was written by then is right, and the next look goes on.
    """
    looks = []
    elsewhere: Counter[str] = Counter()
    for key, tasks in _active(log).items():
        project = projects.of(key)
        if not projects.is_ours(project):
            elsewhere[project.instance] += len(tasks)
        elif not only or key in only:
            looks.append(_Look(log=log, server=server, projects=projects, project=project, now=now, say=say).at(tasks))
    for instance, count in sorted(elsewhere.items()):
        say(
            f"{count} questions wait on {instance}, not here; `faceloop review push --forget {instance}` asks them here"
        )
    return Survey(
        interrupted=tuple(task for look in looks for task in look.interrupted),
        answers={place: count for look in looks for place, count in look.answers.items()},
        touched=frozenset().union(*(look.touched for look in looks)),
        adopted=sum(look.adopted for look in looks),
        lost=sum(look.lost for look in looks),
        doubles=sum(look.doubles for look in looks),
    )


def give_up(log: ReviewLog, instance: str, *, now: datetime) -> int:
    """Count what waits on a server that will not come back as lost, so that it is asked elsewhere; returns how many."""
    there = {project.key for project in log.projects() if project.instance == instance}
    tasks = [task for key, some in _active(log).items() if key in there for task in some]
    log.change_tasks([replace(task, state="lost", changed_at=now) for task in tasks])
    return len(tasks)


def _active(log: ReviewLog) -> dict[str, list[ReviewTask]]:
    """Tasks that wait, by project in the order of keys."""
    return by_project(task for task in log.waiting() if task.state in ("planned", "pushed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """At one project."""

    log: ReviewLog
    server: ReviewServer
    projects: Projects
    project: ReviewProject
    now: datetime
    say: Say

    def at(self, tasks: Sequence[ReviewTask]) -> Survey:
        gone = f"project {self.project.project_id} is gone from the server, or its id is another's"
        if not self.projects.is_there(self.project):
            return self._lose(tasks, gone)
        try:
            there = {task.task_id: task for task in self.server.tasks(self.project.project_id)}
        except ServerGone:
            return self._lose(tasks, gone)
        written = self.log.tasks(project_key=self.project.key)
        strays = _strays(written, there)
        adopted: list[ReviewTask] = []
        unmade: list[ReviewTask] = []
        lost: list[ReviewTask] = []
        for task in tasks:
            if task.task_id is None and strays[task.question_id]:
                found = strays[task.question_id].pop(0)
                adopted.append(replace(task, task_id=found.task_id, state="pushed", changed_at=self.now))
            elif task.task_id is None:
                unmade.append(task)
            elif task.task_id not in there and not self._is_there(task.task_id):
                lost.append(task)
        self.log.change_tasks(adopted)
        doubles = self._part(strays, written)
        is_usable = self.projects.is_unchanged(self.project)
        if unmade and not is_usable:
            self._lose(unmade, f"the labelling config of project {self.project.project_id} was edited")
        if lost:  # their ids may be given to other tasks, so they are forgotten
            lost = [replace(task, task_id=None) for task in lost]
            self._lose(lost, f"{len(lost)} tasks of project {self.project.project_id} are gone")
        places = {
            (self.project.key, task.task_id): there[task.task_id]
            for task in (*tasks, *adopted)
            if task.task_id is not None and task.task_id in there
        }
        return Survey(
            interrupted=tuple(unmade) if is_usable else (),
            answers={place: _answers(task) for place, task in places.items()},
            touched=frozenset(place for place, task in places.items() if is_touched(task)),
            adopted=len(adopted),
            lost=len(lost) + (0 if is_usable else len(unmade)),
            doubles=doubles,
        )

    def _is_there(self, task_id: int) -> bool:
        """A page of a list may miss a task while others are deleted; so ask for it by id before it counts as lost."""
        try:
            return self.server.task(task_id).project_id == self.project.project_id
        except ServerGone:
            return False

    def _lose(self, tasks: Sequence[ReviewTask], what: str) -> Survey:
        self.say(f"{what}; {len(tasks)} questions are asked again, and answers that were pulled stay")
        self.log.change_tasks([replace(task, state="lost", changed_at=self.now) for task in tasks])
        if not self.projects.is_there(self.project):
            self.projects.forget(self.project)
        return Survey(interrupted=(), answers={}, touched=frozenset(), adopted=0, lost=len(tasks), doubles=0)

    def _part(self, strays: Mapping[str, list[ServerTask]], written: Sequence[ReviewTask]) -> int:
        """A task that was made twice goes; one in which somebody did something stays, as another asking."""
        removed, kept = 0, []
        for question_id, doubles in sorted(strays.items()):
            last = [task for task in written if task.question_id == question_id][-1]
            known = self.log.tasks(question_ids=[question_id]) if doubles else []
            number = max((task.asking for task in known if task.round == last.round), default=0)
            for double in doubles:
                if is_touched(double):
                    number += 1
                    kept.append(
                        replace(last, task_id=double.task_id, asking=number, state="pushed", changed_at=self.now)
                    )
                else:
                    self.server.delete_task(double.task_id)
                    removed += 1
        self.log.plan(kept)
        return removed


def _strays(written: Sequence[ReviewTask], there: Mapping[int, ServerTask]) -> dict[str, list[ServerTask]]:
    """Tasks with our questions that the log does not count on, by question: touched ones first, then the oldest."""
    known = {task.task_id for task in written if task.state == "pushed"}
    found: dict[str, list[ServerTask]] = {task.question_id: [] for task in written}
    for task in there.values():
        if task.task_id not in known and task.question_id in found:
            found[task.question_id].append(task)
    for tasks in found.values():
        tasks.sort(key=lambda task: (not is_touched(task), task.task_id))
    return found


def is_touched(task: ServerTask) -> bool:
    """Whether somebody answered or skipped it, or has begun to."""
    return task.has_draft or bool(task.annotations)


def _answers(task: ServerTask) -> int:
    return sum(not annotation.is_skipped for annotation in task.annotations)

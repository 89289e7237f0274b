"""Tasks are made in blocks: planned in the log, pictures on the shelf, made on the server, written down as made.

A kill between any two of these leaves a plan that `survey` finds; nothing is made that was not planned.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from facereview.asking.projects import Group, Projects
from facereview.asking.rounds import Asking
from facereview.asking.showing import Shown, show
from facereview.pictures import Pictures, Shelf
from facereview.schema import AttributeSchema
from facereview.server import ReviewServer
from facestore.errors import ServerAway
from facestore.questions import Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

BLOCK = 200  # tasks made by one call, and written down together


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of askings."""

    question_ids: tuple[str, ...]
    refused: Mapping[str, str]  # by question the reason code


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes tasks on one server. Its methods raise StoreError and what the server raises."""

    log: ReviewLog
    server: ReviewServer
    projects: Projects
    shelf: Shelf
    pictures: Pictures
    schema: AttributeSchema
    now: datetime

    def make(self, askings: Sequence[Asking], *, room: int) -> Made:
        """In their order, until `room` tasks are made; refused ones take no room."""
        made: list[str] = []
        refused: dict[str, str] = {}
        for start in range(0, len(askings), BLOCK):
            some = askings[start : start + BLOCK]
            if len(made) >= room:
                break
            shown = self._show([asking.question for asking in some], refused)
            ready = [asking for asking in some if asking.question.question_id in shown][: room - len(made)]
            groups: dict[Group, list[Asking]] = defaultdict(list)
            for asking in ready:
                groups[asking.group].append(asking)
            for group, block in groups.items():
                made += self._fill(group, block, shown)
        return Made(question_ids=tuple(made), refused=refused)

    def _fill(self, group: Group, waiting: Sequence[Asking], shown: Mapping[str, Shown]) -> list[str]:
        made: list[str] = []
        while waiting:
            project, free = self.projects.room(group)
            planned = self.log.plan([self._planned(asking, project) for asking in waiting[:free]])
            self.projects.took(project, len(planned))
            self._make(project, planned, shown)
            made += [task.question_id for task in planned]
            waiting = waiting[free:]
        return made

    def finish(self, planned: Sequence[ReviewTask]) -> Made:
        """Make tasks that were planned before and never made; those whose pictures have gone meanwhile are dropped."""
        made: list[str] = []
        refused: dict[str, str] = {}
        questions = _by_id(self.log.questions([task.question_id for task in planned]))
        for key, tasks in by_project(planned).items():
            for start in range(0, len(tasks), BLOCK):
                block = tasks[start : start + BLOCK]
                shown = self._show([questions[task.question_id] for task in block], refused)
                dropped = [task for task in block if task.question_id not in shown]
                self.log.change_tasks([replace(task, state="withdrawn", changed_at=self.now) for task in dropped])
                kept = [task for task in block if task.question_id in shown]
                self._make(self.projects.of(key), kept, shown)
                made += [task.question_id for task in kept]
        return Made(question_ids=tuple(made), refused=refused)

    def refresh(self, tasks: Sequence[ReviewTask], suggested: Mapping[str, Question]) -> int:
        """Fill in what a new run suggests (by question, `as_asked`) in tasks that nobody touched; returns in how many.

        Tasks whose pictures have gone stay as they are: they are about to be withdrawn.
        """
        changed = 0
        for key, some in by_project(tasks).items():
            project = self.projects.of(key)
            shown = self._show([suggested[task.question_id] for task in some], {})
            ids = {task.task_id: task.question_id for task in some if task.task_id and task.question_id in shown}
            self.log.revise([shown[question_id].question for question_id in ids.values()])
            for task_id, question_id in ids.items():
                self.server.update_task_data(task_id, shown[question_id].on(self.shelf, self.schema).data)
            filled_in = {task_id: shown[question_id].filled_in for task_id, question_id in ids.items()}
            self.server.replace_predictions(project.project_id, filled_in)
            self.log.change_tasks(
                [
                    replace(task, model_version=filled_in[task.task_id].model_version, changed_at=self.now)
                    for task in some
                    if task.task_id in filled_in
                ]
            )
            changed += len(ids)
        return changed

    def show_versions(self) -> None:
        """Have each project fill in what most of its open tasks carry: the tool fills in one version a project."""
        for key, tasks in by_project(task for task in self.log.waiting() if task.state == "pushed").items():
            project, versions = self.projects.of(key), Counter(task.model_version for task in tasks)
            if self.projects.is_there(project):
                self.projects.show_version(project, max(versions, key=lambda version: (versions[version], version)))

    def _make(self, project: ReviewProject, planned: Sequence[ReviewTask], shown: Mapping[str, Shown]) -> None:
        if not planned:
            return
        drafts = [shown[task.question_id].on(self.shelf, self.schema) for task in planned]
        ids = self.server.create_tasks(project.project_id, drafts)
        made = [
            replace(task, task_id=ids[task.question_id], state="pushed", changed_at=self.now)
            for task in planned
            if task.question_id in ids
        ]
        self.log.change_tasks(made)
        if len(made) < len(planned):
            raise ServerAway(f"the server made {len(made)} of {len(planned)} tasks and says no more; push again")

    def _show(self, questions: Sequence[Question], refused: dict[str, str]) -> dict[str, Shown]:
        """By question; the reason of those that cannot be shown goes into `refused`."""
        shown = {}
        for question in questions:
            match show(question, self.pictures, self.schema):
                case str(reason):
                    refused[question.question_id] = reason
                case ready:
                    shown[question.question_id] = ready
        return shown

    def _planned(self, asking: Asking, project: ReviewProject) -> ReviewTask:
        return ReviewTask(
            question_id=asking.question.question_id,
            round=asking.round,
            asking=asking.asking,
            project_key=project.key,
            task_id=None,
            state="planned",
            changed_at=self.now,
            model_version=asking.question.model_version,
        )


def by_project(tasks: Iterable[ReviewTask]) -> dict[str, list[ReviewTask]]:
    """In the order of project keys."""
    found = defaultdict(list)
    for task in tasks:
        found[task.project_key].append(task)
    return dict(sorted(found.items()))


def _by_id(questions: Iterable[Question]) -> dict[str, Question]:
    return {question.question_id: question for question in questions}

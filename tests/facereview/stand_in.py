"""A labelling server in memory that behaves as Label Studio 1.23.2 was measured to: see docs/label-studio.md.

Events are sent at most once and in any order, several edits may carry one time, deleting moves a task's time, ids are
given again (of annotations only after a restore, but that may be any time) while unique ids are not, lists are read
page by page while others write, and any call may fail. Results are in Label Studio's own format.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from facereview.server import PredictionDraft, ServerAnnotation, ServerProject, ServerTask, TaskDraft
from facestore.errors import ServerAway, ServerGone
from facestore.ids import JsonValue, digest_of

START = datetime(2026, 5, 1, 8, tzinfo=UTC)
PAGE = 7  # tasks of a list that are read in one go


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A webhook's message, as it would be sent."""

    body: Mapping[str, JsonValue]


@dataclass(slots=True, kw_only=True)
class _Task:
    project_id: int
    data: dict[str, JsonValue]
    updated_at: datetime
    has_draft: bool = False
    annotations: dict[str, ServerAnnotation] = field(default_factory=dict)  # by unique id
    predictions: list[PredictionDraft] = field(default_factory=list)


class StandIn:
    """The API side is `facereview.server.ReviewServer`; the rest is what people do in the browser."""

    def __init__(self, instance: str = "stand-in") -> None:
        self.instance = instance
        self.now = START
        self.tasks_by_id: dict[int, _Task] = {}
        self.projects_by_id: dict[int, ServerProject] = {}
        self.events: list[Event] = []
        self.before_call: Callable[[str], None] = lambda _: None  # may raise
        self.between_pages: Callable[[], None] = lambda: None
        self._made = 0  # unique ids are never given again

    # what the product calls

    def check(self) -> str:
        self.before_call("check")
        return "stand-in"

    def projects(self) -> list[ServerProject]:
        self.before_call("projects")
        return [self.projects_by_id[project_id] for project_id in sorted(self.projects_by_id)]

    def create_project(
        self, *, title: str, description: str, label_config: str, overlap: int, model_version: str
    ) -> ServerProject:
        self.before_call("create_project")
        project_id = 1 + max(self.projects_by_id, default=0)  # of a deleted one: given again
        made = ServerProject(
            project_id=project_id, title=title, description=description, label_config=label_config, created_at=self.now
        )
        self.projects_by_id[project_id] = made
        return made

    def delete_project(self, project_id: int) -> None:
        self.before_call("delete_project")
        self._project(project_id)
        del self.projects_by_id[project_id]
        for task_id in [key for key, task in self.tasks_by_id.items() if task.project_id == project_id]:
            del self.tasks_by_id[task_id]

    def set_model_version(self, project_id: int, model_version: str) -> None:
        self.before_call("set_model_version")
        self._project(project_id)

    def create_tasks(self, project_id: int, tasks: Sequence[TaskDraft]) -> dict[str, int]:
        self.before_call("create_tasks")
        self._project(project_id)
        made = {}
        for draft in tasks:
            task_id = 1 + max(self.tasks_by_id, default=0)  # of a deleted one: given again
            predictions = [] if draft.prediction is None else [draft.prediction]
            self.tasks_by_id[task_id] = _Task(
                project_id=project_id, data=dict(draft.data), updated_at=self.now, predictions=predictions
            )
            made[draft.question_id] = task_id
        return made

    def replace_predictions(self, project_id: int, drafts: Mapping[int, PredictionDraft]) -> None:
        self.before_call("replace_predictions")
        for task_id, draft in drafts.items():
            self._task(task_id).predictions = [draft]

    def update_task_data(self, task_id: int, data: Mapping[str, JsonValue]) -> None:
        self.before_call("update_task_data")
        task = self._task(task_id)
        task.data, task.updated_at = dict(data), self.now

    def delete_task(self, task_id: int) -> None:
        self.before_call("delete_task")
        self.remove_task(task_id)

    def tasks(self, project_id: int, *, updated_after: datetime | None = None) -> Iterator[ServerTask]:
        """By offset, as the real one: what is deleted between two pages moves others out of sight."""
        offset = 0
        while True:
            self.before_call("tasks")
            self._project(project_id)
            rows = [
                task_id
                for task_id, task in sorted(self.tasks_by_id.items())
                if task.project_id == project_id and (updated_after is None or task.updated_at > updated_after)
            ]
            page = rows[offset : offset + PAGE]
            yield from [self._seen(task_id) for task_id in page]
            if len(page) < PAGE:
                return
            offset += PAGE
            self.between_pages()

    def task(self, task_id: int) -> ServerTask:
        self.before_call("task")
        self._task(task_id)
        return self._seen(task_id)

    # what people do

    def answer(self, task_id: int, user_id: int, result: Sequence[JsonValue], *, is_skipped: bool = False) -> str:
        """A new annotation; its unique id."""
        task = self._task(task_id)
        self._made += 1
        unique_id = digest_of([self.instance, self._made])[:32]
        used = [one.annotation_id for other in self.tasks_by_id.values() for one in other.annotations.values()]
        task.annotations[unique_id] = ServerAnnotation(
            annotation_id=1 + max(used, default=0),
            unique_id=unique_id,
            task_id=task_id,
            user_id=user_id,
            updated_at=self.now,
            is_skipped=is_skipped,
            lead_time_s=2.5,
            result=tuple(result),
        )
        task.has_draft = False
        self._touch(task, "ANNOTATION_CREATED", task_id, unique_id)
        return unique_id

    def edit(self, unique_id: str, result: Sequence[JsonValue], *, is_skipped: bool = False) -> None:
        task_id, task = self._holder(unique_id)
        task.annotations[unique_id] = replace(
            task.annotations[unique_id], result=tuple(result), is_skipped=is_skipped, updated_at=self.now
        )
        self._touch(task, "ANNOTATION_UPDATED", task_id, unique_id)

    def remove(self, unique_id: str) -> None:
        _, task = self._holder(unique_id)
        annotation_id = task.annotations[unique_id].annotation_id
        body = _body("ANNOTATIONS_DELETED", task.project_id, annotations=[annotation_id])
        del task.annotations[unique_id]
        task.updated_at = self.now
        self.events.append(Event(body=body))

    def remove_task(self, task_id: int) -> None:
        task = self._task(task_id)
        del self.tasks_by_id[task_id]
        self.events.append(Event(body=_body("TASKS_DELETED", task.project_id, tasks=[task_id])))

    def draft(self, task_id: int) -> None:
        """Is seen in the browser of who writes it; the task's time stays."""
        self._task(task_id).has_draft = True

    def edit_data(self, task_id: int, **changes: JsonValue) -> None:
        task = self._task(task_id)
        task.data = {**task.data, **changes}
        task.updated_at = self.now

    def wait(self, seconds: float = 1) -> None:
        self.now += timedelta(seconds=seconds)

    def unique_ids(self) -> list[str]:
        return [unique_id for _, task in sorted(self.tasks_by_id.items()) for unique_id in task.annotations]

    def _touch(self, task: _Task, action: str, task_id: int, unique_id: str) -> None:
        task.updated_at = self.now
        one = task.annotations[unique_id]
        body = _body(action, task.project_id, task=task_id, annotation=one.annotation_id)
        body["annotation"] = {
            "id": one.annotation_id, "unique_id": unique_id, "completed_by": one.user_id, "result": list(one.result),
            "was_cancelled": one.is_skipped,
        }  # fmt: skip
        self.events.append(Event(body=body))

    def _holder(self, unique_id: str) -> tuple[int, _Task]:
        return next((key, task) for key, task in self.tasks_by_id.items() if unique_id in task.annotations)

    def _project(self, project_id: int) -> ServerProject:
        if project_id not in self.projects_by_id:
            raise ServerGone(f"no project {project_id}")
        return self.projects_by_id[project_id]

    def _task(self, task_id: int) -> _Task:
        if task_id not in self.tasks_by_id:
            raise ServerGone(f"no task {task_id}")
        return self.tasks_by_id[task_id]

    def _seen(self, task_id: int) -> ServerTask:
        task = self._task(task_id)
        named = task.data.get("question_id")
        return ServerTask(
            task_id=task_id,
            project_id=task.project_id,
            question_id=named if isinstance(named, str) else None,
            data=dict(task.data),
            updated_at=task.updated_at,
            has_draft=task.has_draft,
            annotations=tuple(task.annotations.values()),
        )


def away(_: str) -> None:
    raise ServerAway("the server answered 500; try later")


def _body(action: str, project_id: int, **ids: int | list[int]) -> dict[str, JsonValue]:
    body: dict[str, JsonValue] = {"action": action, "project": {"id": project_id, "title": "not read"}}
    for name, value in ids.items():
        body[name] = [{"id": one} for one in value] if isinstance(value, list) else {"id": value}
    return body

"""What we ask of a labelling server. Only Label Studio's adapter and a stand-in for tests implement it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from facestore.ids import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProject:
    """A project as the server has it."""

    project_id: int
    title: str
    description: str  # holds our project key
    label_config: str
    created_at: datetime  # UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDraft:
    """What is filled in beforehand, in the server's own result format."""

    model_version: str
    score: float  # [0, 1]
    result: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDraft:
    """A task to be made."""

    question_id: str  # written into the task's data
    data: Mapping[str, JsonValue]
    prediction: PredictionDraft | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnnotation:
    """An annotation as the server has it now. Drafts are not among them."""

    annotation_id: int
    unique_id: str
    task_id: int
    user_id: int | None
    updated_at: datetime  # UTC
    is_skipped: bool
    lead_time_s: float | None
    result: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTask:
    """A task as the server has it now. `data` may have been edited by hand."""

    task_id: int
    project_id: int
    question_id: str | None  # of its data, if it is still there
    data: Mapping[str, JsonValue]
    updated_at: datetime  # UTC
    has_draft: bool
    annotations: tuple[ServerAnnotation, ...]


class ReviewServer(Protocol):
    """Every method raises ServerAway (try later: no connection, time-out, 5xx), ServerRefused (a person must act: token
    expired or of the other kind, forbidden) or ServerGone (what was asked for is not there)."""

    instance: str  # names the server in our tables

    def check(self) -> str:
        """The server's version, if it answers and takes our token."""

    def projects(self) -> list[ServerProject]: ...

    def create_project(
        self, *, title: str, description: str, label_config: str, overlap: int, model_version: str
    ) -> ServerProject: ...

    def set_model_version(self, project_id: int, model_version: str) -> None:
        """Which predictions are filled in for annotators."""

    def create_tasks(self, project_id: int, tasks: Sequence[TaskDraft]) -> dict[str, int]:
        """Make tasks with their predictions; task ids by question id. All or an error, but a kill may leave some."""

    def replace_predictions(self, project_id: int, drafts: Mapping[int, PredictionDraft]) -> None:
        """One prediction for each of these tasks, whatever they had."""

    def update_task_data(self, task_id: int, data: Mapping[str, JsonValue]) -> None: ...

    def delete_task(self, task_id: int) -> None: ...

    def tasks(self, project_id: int, *, updated_after: datetime | None = None) -> Iterator[ServerTask]:
        """Tasks with their annotations, in any order; all, or those that changed since. Streamed by pages."""

    def task(self, task_id: int) -> ServerTask: ...

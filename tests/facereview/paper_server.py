"""A labelling server on paper, to push to: it keeps what it is given, and fails or kills its caller when told to."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from PIL import Image

from facereview.kinds import Candidate, Member, OddOnesOut, SamePerson, Strip, Subject, WhoIsThis, ask
from facereview.pictures import Picture
from facereview.schema import AttributeField, AttributeSchema
from facereview.server import PredictionDraft, ServerAnnotation, ServerProject, ServerTask, TaskDraft
from facestore.errors import DataError, ServerAway, ServerGone
from facestore.ids import JsonValue, sha256_hex
from facestore.questions import Question

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SCHEMA = AttributeSchema(fields=(AttributeField(name="gaze", title="Gaze", values=("camera", "away")),))
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@dataclass
class Clockwork:
    """Counts calls; the one numbered `at` raises `error`, before or after it does its work."""

    at: int | None = None
    error: BaseException = field(default_factory=Killed)
    is_after: bool = False
    calls: int = 0

    def run(self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        self.calls += 1
        is_now = self.calls - 1 == self.at
        if is_now and not self.is_after:
            raise self.error
        result = work(*args, **kwargs)
        if is_now:
            raise self.error
        return result


class PaperServer:
    """`clockwork` sees every call that writes, and the lists."""

    def __init__(self, instance: str = "paper") -> None:
        self.instance = instance
        self.clockwork = Clockwork()
        self.papers: dict[int, ServerProject] = {}
        self.sheets: dict[int, ServerTask] = {}
        self.filled_in: dict[int, list[PredictionDraft]] = {}
        self.overlaps: dict[int, int] = {}
        self.versions: dict[int, str] = {}
        self.is_slow = False  # then tasks are made when their maker has given up, with the next ones
        self._late: list[tuple[int, TaskDraft]] = []
        self._next_project, self._next_task = 1, 1

    def check(self) -> str:
        return "paper"

    def projects(self) -> list[ServerProject]:
        return self.clockwork.run(lambda: list(self.papers.values()))

    def create_project(
        self, *, title: str, description: str, label_config: str, overlap: int, model_version: str
    ) -> ServerProject:
        def make() -> ServerProject:
            made = ServerProject(
                project_id=self._next_project,
                title=title,
                description=description,
                label_config=label_config.strip(),
                created_at=NOON,
            )
            self._next_project += 1
            self.papers[made.project_id] = made
            self.overlaps[made.project_id], self.versions[made.project_id] = overlap, model_version
            return made

        return self.clockwork.run(make)

    def delete_project(self, project_id: int) -> None:
        del self.papers[project_id]
        self.sheets = {key: task for key, task in self.sheets.items() if task.project_id != project_id}

    def set_model_version(self, project_id: int, model_version: str) -> None:
        self.clockwork.run(lambda: self.versions.update({project_id: model_version}))

    def create_tasks(self, project_id: int, tasks: Sequence[TaskDraft]) -> dict[str, int]:
        def make() -> dict[str, int]:
            self._of(project_id)
            if self.is_slow:
                self._late += [(project_id, draft) for draft in tasks]
                raise ServerAway("time-out")
            made = {draft.question_id: self.add(project_id, draft) for draft in tasks}
            for project, draft in self._late:
                self.add(project, draft)
            self._late = []
            return made

        return self.clockwork.run(make)

    def add(self, project_id: int, draft: TaskDraft) -> int:
        task_id = self._next_task
        self._next_task += 1
        self.sheets[task_id] = ServerTask(
            task_id=task_id,
            project_id=project_id,
            question_id=str(draft.data["question_id"]),
            data=draft.data,
            updated_at=NOON,
            has_draft=False,
            annotations=(),
        )
        self.filled_in[task_id] = [] if draft.prediction is None else [draft.prediction]
        return task_id

    def replace_predictions(self, project_id: int, drafts: Mapping[int, PredictionDraft]) -> None:
        self.clockwork.run(lambda: self.filled_in.update({key: [draft] for key, draft in drafts.items()}))

    def update_task_data(self, task_id: int, data: Mapping[str, JsonValue]) -> None:
        self.clockwork.run(lambda: self.sheets.update({task_id: replace(self.sheets[task_id], data=data)}))

    def delete_task(self, task_id: int) -> None:
        def remove() -> None:
            if self.sheets.pop(task_id, None) is None:
                raise ServerGone(f"no task {task_id}")

        self.clockwork.run(remove)

    def tasks(self, project_id: int, *, updated_after: datetime | None = None) -> Iterator[ServerTask]:
        def find() -> list[ServerTask]:
            self._of(project_id)
            return [task for task in self.sheets.values() if task.project_id == project_id]

        return iter(self.clockwork.run(find))

    def task(self, task_id: int) -> ServerTask:
        if task_id not in self.sheets:
            raise ServerGone(f"no task {task_id}")
        return self.sheets[task_id]

    def _of(self, project_id: int) -> ServerProject:
        if project_id not in self.papers:
            raise ServerGone(f"no project {project_id}")
        return self.papers[project_id]

    def answer(self, task_id: int, user_id: int = 1, *, is_skipped: bool = False) -> ServerAnnotation:
        """Somebody answers; returns the annotation."""
        task = self.sheets[task_id]
        given = ServerAnnotation(
            annotation_id=1_000 * task_id + len(task.annotations),
            unique_id=f"unique {task_id} {user_id} {len(task.annotations)}",
            task_id=task_id,
            user_id=user_id,
            updated_at=NOON,
            is_skipped=is_skipped,
            lead_time_s=3.0,
            result=(),
        )
        self.sheets[task_id] = replace(task, annotations=(*task.annotations, given))
        return given

    def begin(self, task_id: int) -> None:
        """Somebody leaves a draft."""
        self.sheets[task_id] = replace(self.sheets[task_id], has_draft=True)

    def asked(self) -> list[str]:
        """Question ids of all tasks, sorted."""
        return sorted(str(task.question_id) for task in self.sheets.values())


class DrawnPictures:
    """A small JPEG for every picture, but for those that are gone."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def jpeg(self, picture: Picture) -> bytes:
        if getattr(picture, "face_id", None) in self.gone:
            raise DataError(f"no crop of {picture}")
        shade = sha256_hex(repr(picture).encode())
        drawn = io.BytesIO()
        Image.new("RGB", (16, 16), (int(shade[:2], 16), int(shade[2:4], 16), int(shade[4:6], 16))).save(drawn, "JPEG")
        return drawn.getvalue()


def pair(
    left: str, right: str, *, rank: int = 0, version: str = "run 1", chance: float = 0.7, needs: int = 1
) -> Question:
    """Are two faces, each with a second shot, one person?"""
    subject = SamePerson(
        left=Strip(face_ids=(left, f"{left} again")),
        right=Strip(face_ids=(right, f"{right} again")),
        similarity=0.4,
        chance=chance,
    )
    return asked(subject, rank=rank, version=version, chance=chance, needs=needs)


def grid(reference: str, members: Sequence[str], *, rank: int = 0, version: str = "run 1") -> Question:
    shown = tuple(Member(face_id=face, chance=0.8, is_doubtful=place == 0) for place, face in enumerate(members))
    return asked(OddOnesOut(reference=Strip(face_ids=(reference,)), members=shown), rank=rank, version=version)


def whose(probe: str, candidates: Sequence[str], *, rank: int = 0, version: str = "run 1") -> Question:
    shown = tuple(Candidate(strip=Strip(face_ids=(face,)), similarity=0.4, chance=0.3) for face in candidates)
    return asked(WhoIsThis(probe=Strip(face_ids=(probe,)), candidates=shown), rank=rank, version=version)


def asked(subject: Subject, *, rank: int, version: str, chance: float = 0.7, needs: int = 1) -> Question:
    return ask(
        subject,
        subset="s",
        reason="bridge_between_identities",
        model_version=version,
        chance=chance,
        gain=3.0,
        seconds=4.0,
        needs=needs,
        rank=rank,
    )


def pairs(count: int, *, version: str = "run 1") -> list[Question]:
    return [pair(f"f{2 * rank:04d}", f"f{2 * rank + 1:04d}", rank=rank, version=version) for rank in range(count)]

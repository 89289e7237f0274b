"""A log, a paper server, a shelf and pictures to push with."""

from collections.abc import Iterable
from pathlib import Path

from facereview.asking.push import Pushed, PushParams, push
from facereview.asking.shelf import FolderShelf
from facestore.questions import AnnotationVersion, Question, QuestionState, ReviewTask, Settlement
from facestore.reviewlog import ReviewLog

from .paper_server import NOON, SCHEMA, DrawnPictures, PaperServer


class World:
    """A log, a server, a shelf and pictures, with what pushes said."""

    def __init__(
        self, folder: Path, *, project_tasks: int = 3, backlog: int = 100, max_rounds: int = 2, url: str = ""
    ) -> None:
        self.params = PushParams(project_tasks=project_tasks, backlog=backlog, max_rounds=max_rounds)
        self.log = ReviewLog(url or f"sqlite:///{folder / 'catalogue.sqlite3'}")
        self.server = PaperServer()
        self.shelf = FolderShelf(root=folder / "served", prefix="faces")
        self.pictures = DrawnPictures()
        self.said: list[str] = []
        self.connected: list[int] = []
        self.groups: dict[str, str] = {}

    def push(self, questions: Iterable[Question]) -> Pushed:
        pushed = push(
            questions,
            log=self.log,
            server=self.server,
            shelf=self.shelf,
            pictures=self.pictures,
            schema=SCHEMA,
            params=self.params,
            now=NOON,
            say=self.said.append,
            group_of_face=self.groups,
            connect=self.connected.append,
        )
        assert pushed.given == pushed.new + pushed.known + pushed.twins + pushed.waiting + sum(pushed.refused.values())
        return pushed

    def task_of(self, question: Question) -> ReviewTask:
        """The last asking."""
        return self.log.tasks(question_ids=[question.question_id])[-1]

    def pulled(
        self, question: Question, state: QuestionState, *, annotator: str = "paper/1", round_number: int = 0
    ) -> None:
        """Somebody answers the question's last task, or that of a round; the log takes it in, with what it came to."""
        tasks = self.log.tasks(question_ids=[question.question_id])
        task = [task for task in tasks if round_number in (0, task.round)][-1]
        assert task.task_id is not None
        said = self.server.answer(task.task_id)
        version = AnnotationVersion(
            project_key=task.project_key,
            unique_id=f"{said.unique_id} {task.project_key}",
            version=1,
            annotation_id=said.annotation_id,
            task_id=task.task_id,
            question_id=question.question_id,
            annotator=annotator,
            state="answered",
            answer="{}",
            detail="",
            updated_at=NOON,
            lead_time_s=3.0,
            digest="d",
            seen_at=NOON,
        )
        came_to = Settlement(question_id=question.question_id, state=state, decision_ids=(), changed_at=NOON)
        self.log.record([version], [came_to], [])


def ids(questions: Iterable[Question]) -> list[str]:
    return sorted(question.question_id for question in questions)

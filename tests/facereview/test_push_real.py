"""push against the real server: 1,000 questions, killed again and again, are 1,000 tasks with pictures."""

import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from re import findall
from typing import Any
from urllib.parse import urlsplit

import pytest

from facereview.asking import survey
from facereview.asking.withdraw import put_away, withdraw
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.annotator import new_annotator
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import log_in
from facereview.server import ServerTask
from facestore.errors import ServerError
from facestore.questions import Settlement
from facestore.reviewlog import ReviewLog

from .paper_server import NOON
from .pushing import plan, push_plan, shelf_of

pytestmark = pytest.mark.integration
QUESTIONS = 1_000
ROOT = Path(__file__).parents[2]


def our_tasks(server: LabelStudioServer, folder: Path) -> list[ServerTask]:
    """Of all projects that the log in the folder knows."""
    if not (folder / "catalogue.sqlite3").is_file():
        return []
    log = ReviewLog(f"sqlite:///{folder / 'catalogue.sqlite3'}")
    try:
        return [task for project in log.projects() for task in server.tasks(project.project_id)]
    finally:
        log.close()


def killed_when(made: int, label_studio: RunningServer, server: LabelStudioServer, folder: Path) -> bool:
    """Push in another process until so many tasks are there, then SIGKILL it; whether that met it alive."""
    place = [label_studio.url, label_studio.token, str(folder), label_studio.files, str(QUESTIONS)]
    command = [sys.executable, "-m", "tests.facereview.pushing", *place]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as pushing:
        while pushing.poll() is None and len(our_tasks(server, folder)) < made:
            time.sleep(0.02)
        was_alive = pushing.poll() is None
        with suppress(ProcessLookupError):
            pushing.send_signal(signal.SIGKILL)
    return was_alive


def status_of(url: str, path: str, cookies: str = "") -> tuple[int, bytes]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path, headers={"Cookie": cookies} if cookies else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def pushed(label_studio: RunningServer, server: LabelStudioServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a log whose pushes were killed five times and then left in peace."""
    folder = tmp_path_factory.mktemp("pushed")
    kills = [killed_when(made, label_studio, server, folder) for made in (1, 150, 151, 400, 700)]
    assert sum(kills) >= 3, "the pushes were done before they could be killed"
    last = push_plan(label_studio.url, label_studio.token, folder, Path(label_studio.files), QUESTIONS)
    assert last.new + last.known == QUESTIONS
    return folder


def test_killed_pushes_end_as_one_task_for_each_question(server: LabelStudioServer, pushed: Path) -> None:
    asked = Counter(task.question_id for task in our_tasks(server, pushed))
    assert asked == Counter(question.question_id for question in plan(QUESTIONS))


class Cut(Exception):
    """The push ends here, and its last tasks are made."""


@pytest.mark.parametrize("is_mutant", [False, True], ids=["as it is", "the server is not looked at"])
def test_what_a_push_made_and_did_not_write_down_is_made_once_and_twice_by_a_mutant(
    is_mutant: bool,
    label_studio: RunningServer,
    server: LabelStudioServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = (label_studio.url, label_studio.token, tmp_path, Path(label_studio.files), 6)
    real = LabelStudioServer.create_tasks

    def make_and_die(*words: Any) -> dict[str, int]:
        real(*words)
        raise Cut

    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(LabelStudioServer, "create_tasks", make_and_die)
        push_plan(*place)
    assert our_tasks(server, tmp_path)
    if is_mutant:
        monkeypatch.setattr(survey, "_strays", lambda written, _: {task.question_id: [] for task in written})
    push_plan(*place)
    asked = Counter(task.question_id for task in our_tasks(server, tmp_path))
    assert asked.keys() == {question.question_id for question in plan(6)}
    assert (max(asked.values()) > 1) == is_mutant


def test_a_push_again_makes_nothing(label_studio: RunningServer, server: LabelStudioServer, pushed: Path) -> None:
    before = {task.task_id: task.updated_at for task in our_tasks(server, pushed)}
    again = push_plan(label_studio.url, label_studio.token, pushed, Path(label_studio.files), QUESTIONS)
    assert (again.new, again.known, again.finished, again.doubles, again.lost) == (0, QUESTIONS, 0, 0, 0)
    assert {task.task_id: task.updated_at for task in our_tasks(server, pushed)} == before


def test_tasks_carry_one_prediction_each_of_the_projects_version(server: LabelStudioServer, pushed: Path) -> None:
    for task in our_tasks(server, pushed)[::100]:
        assert [draft.model_version for draft in server.predictions(task.task_id)] == ["run 1"]


def test_pictures_show_to_annotators_and_to_nobody_else(
    label_studio: RunningServer, server: LabelStudioServer, pushed: Path
) -> None:
    admin = log_in(label_studio.url, label_studio.email, label_studio.password)
    annotator = new_annotator(admin, "push-looks@faceloop.example", "a-long-password")
    addresses = sorted(
        {found for task in our_tasks(server, pushed) for found in findall(r"/data/[^\"\s']+", str(task.data))}
    )
    assert len(addresses) > QUESTIONS
    cookies = "; ".join(f"{name}={value}" for name, value in annotator.login._cookies.items())
    for address in addresses[:: len(addresses) // 10]:
        status, content = status_of(label_studio.url, address, cookies)
        assert (status, content[:2]) == (200, b"\xff\xd8")
        status, content = status_of(label_studio.url, address)
        assert status in (401, 403)
        assert b"\xff\xd8" not in content


def test_moot_questions_leave_the_server_and_those_that_somebody_is_at_stay(
    label_studio: RunningServer, server: LabelStudioServer, pushed: Path
) -> None:
    log = ReviewLog(f"sqlite:///{pushed / 'catalogue.sqlite3'}")
    shelf = shelf_of(pushed, Path(label_studio.files))
    admin = log_in(label_studio.url, label_studio.email, label_studio.password)
    annotator = new_annotator(admin, "push-works@faceloop.example", "a-long-password")
    untouched, drafted, answered, settled = [question.question_id for question in plan(QUESTIONS)[1:5]]
    tasks = {task.question_id: task for task in log.tasks()}
    result = server.predictions(tasks[untouched].task_id or 0)[0].result
    annotator.draft(tasks[drafted].task_id or 0, result)
    annotator.annotate(tasks[answered].task_id or 0, result)
    gone = withdraw([untouched, drafted, answered], log=log, server=server, shelf=shelf, now=NOON)
    assert gone.question_ids == (untouched,)
    assert gone.kept == {drafted: "begun", answered: "begun"}
    log.record([], [Settlement(question_id=settled, state="settled", decision_ids=(), changed_at=NOON)], [])
    assert put_away([settled, drafted], log=log, server=server, shelf=shelf, now=NOON) == 1
    left = {task.question_id for task in our_tasks(server, pushed)}
    assert {untouched, settled} & left == set()
    assert {drafted, answered} <= left
    assert {untouched, settled} & shelf.held() == set()
    assert {drafted, answered} <= shelf.held()
    log.close()


def test_a_deleted_project_is_asked_anew(label_studio: RunningServer, server: LabelStudioServer, pushed: Path) -> None:
    log = ReviewLog(f"sqlite:///{pushed / 'catalogue.sqlite3'}")
    project = min(log.projects(), key=lambda found: len(log.tasks(project_key=found.key, states={"pushed"})))
    waiting = [task.question_id for task in log.tasks(project_key=project.key, states={"pushed"})]
    log.close()
    server.delete_project(project.project_id)
    again = push_plan(label_studio.url, label_studio.token, pushed, Path(label_studio.files), QUESTIONS)
    assert again.lost == again.again == len(waiting)
    asked = Counter(task.question_id for task in our_tasks_left(server, pushed))
    assert set(asked.values()) == {1}
    assert set(waiting) <= set(asked)


def our_tasks_left(server: LabelStudioServer, folder: Path) -> list[ServerTask]:
    log = ReviewLog(f"sqlite:///{folder / 'catalogue.sqlite3'}")
    found = []
    for project in log.projects():
        with suppress(ServerError):
            found += list(server.tasks(project.project_id))
    log.close()
    return found

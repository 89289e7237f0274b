"""`review pull` from the real server: one sweep after all that annotators do, and a hint that comes by webhook."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
import uvicorn

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.annotator import Annotator, new_annotator
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import log_in
from facereview.services.webhook import Limits, receiver
from facestore.decisionlog import DecisionLog
from facestore.errors import ServerGone
from facestore.ids import sha256_hex
from facestore.questions import Question
from facestore.reviewlog import ReviewLog

from .review_world import (
    NOW,
    faults,
    odd_ones_out,
    pulled,
    push,
    same_person,
    sorted_out,
    standing,
    truth_of,
    verdict,
)

pytestmark = pytest.mark.integration

CLEAN = {"lost": 0, "doubled": 0, "forged": 0}
SECRET = "a secret of the tests"  # noqa: S105  # of no server


@pytest.fixture(scope="module")
def annotators(label_studio: RunningServer) -> list[Annotator]:
    admin = log_in(label_studio.url, label_studio.email, label_studio.password)
    return [new_annotator(admin, f"pull-{number}@faceloop.example", "a-long-password") for number in range(3)]


class Pushed:
    """Questions of two kinds on the real server."""

    def __init__(self, server: LabelStudioServer, folder: Path) -> None:
        self.server, self.url = server, f"sqlite:///{folder / 'catalogue.sqlite3'}"
        self.log = ReviewLog(self.url)
        self.pairs = [same_person(number) for number in range(8)]
        self.grids = [odd_ones_out(number) for number in range(2)]
        self.log.offer([*self.pairs, *self.grids], at=NOW)
        keys = [sha256_hex(f"{folder} {kind}".encode())[:16] for kind in ("pairs", "grids")]
        self.task_of = push(self.log, server, self.pairs, keys[0]) | push(self.log, server, self.grids, keys[1])
        self.project_ids = [project.project_id for project in self.log.projects()]

    def differences(self) -> dict[str, int]:
        questions: dict[int, Question] = {self.task_of[one.question_id]: one for one in (*self.pairs, *self.grids)}
        held = [task for project_id in self.project_ids for task in self.server.tasks(project_id)]
        log = DecisionLog(self.url)
        found = faults(log.all(), truth_of(held, questions, self.server.instance))
        log.close()
        return found

    def standing(self) -> int:
        log = DecisionLog(self.url)
        found = sum(standing(log.all()).values())
        log.close()
        return found


@pytest.fixture
def pushed(server: LabelStudioServer, tmp_path: Path) -> Iterator[Pushed]:
    made = Pushed(server, tmp_path)
    yield made
    made.log.close()
    for project_id in made.project_ids:
        with suppress(ServerGone):
            server.delete_project(project_id)


def test_answers_edits_skips_drafts_and_deletions_converge_in_one_sweep(
    pushed: Pushed, annotators: list[Annotator]
) -> None:
    ann, bob, eve = annotators
    tasks = [pushed.task_of[one.question_id] for one in pushed.pairs]
    answers = [ann.annotate(task_id, verdict("same")) for task_id in tasks]
    grids = [bob.annotate(pushed.task_of[one.question_id], sorted_out([2], [3])) for one in pushed.grids]
    done = pulled(pushed.log, pushed.server)
    assert (dict(done.versions), done.decisions) == ({"answered": 10}, 8 + 2 * 3)
    assert pushed.differences() == CLEAN

    ann.edit(answers[0], verdict("different"))
    ann.edit(answers[1], verdict("same"))  # says it again
    ann.delete(answers[2])
    bob.skip(tasks[3])
    eve.draft(tasks[4], verdict("different"))
    pushed.server.delete_task(tasks[5])
    bob.annotate(tasks[6], verdict("different"))  # more answers than were asked for
    bob.edit(grids[0], sorted_out([]))
    ann.annotate(tasks[2], verdict("unsure"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda said: ann.edit(answers[7], verdict(said)), ["same", "different"] * 4))
    done = pulled(pushed.log, pushed.server)
    assert pushed.differences() == CLEAN
    assert done.versions["deleted"] == 2
    assert done.versions["skipped"] == 1
    assert done.remarks["task_deleted"] == 1
    again = pulled(pushed.log, pushed.server)
    assert (again.decisions, again.retracts, dict(again.versions)) == (0, 0, {})
    changed = pulled(pushed.log, pushed.server, full=False)
    assert (changed.decisions, changed.retracts) == (0, 0)


def test_a_project_deleted_on_the_server_takes_nothing_back(pushed: Pushed, annotators: list[Annotator]) -> None:
    for one in pushed.pairs:
        annotators[0].annotate(pushed.task_of[one.question_id], verdict("same"))
    pulled(pushed.log, pushed.server)
    pushed.server.delete_project(pushed.project_ids[0])
    said: list[str] = []
    done = pulled(pushed.log, pushed.server, say=said.append)
    assert (done.retracts, done.remarks["project_gone"], pushed.standing()) == (0, 1, 8)
    assert "what was said stays" in " ".join(said)


def test_a_task_edited_by_hand_quarantines_what_is_answered_after(pushed: Pushed, annotators: list[Annotator]) -> None:
    first, other = (pushed.task_of[one.question_id] for one in pushed.pairs[:2])
    annotators[0].annotate(first, verdict("same"))
    pulled(pushed.log, pushed.server)
    data = dict(pushed.server.task(first).data)
    pushed.server.update_task_data(first, data | {"question_id": pushed.pairs[1].question_id})
    annotators[1].annotate(first, verdict("different"))
    annotators[1].annotate(other, verdict("nonsense"))
    assert dict(pulled(pushed.log, pushed.server).versions) == {"unreadable": 2}
    assert pushed.standing() == 1
    pushed.server.update_task_data(first, data)
    assert dict(pulled(pushed.log, pushed.server).versions) == {"answered": 1}


def test_a_webhook_leads_a_hinted_pull_to_the_answer_and_its_deletion(
    pushed: Pushed, annotators: list[Annotator]
) -> None:
    limits = Limits(body_bytes=1 << 20, body_seconds=5, waiting=100, refusals_per_second=9)
    app = receiver(
        secrets=[SECRET], keep=pushed.log.take_hints, limits=limits, now=lambda: NOW, monotonic=time.monotonic,
        say=lambda _: None,
    )  # fmt: skip
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = Thread(target=running.run)
    thread.start()
    try:
        for project_id in pushed.project_ids:
            pushed.server.add_webhook(project_id, f"http://127.0.0.1:{port}/hook", SECRET)
        task_ids = [pushed.task_of[one.question_id] for one in pushed.pairs]
        answer = annotators[0].annotate(task_ids[0], verdict("same"))
        annotators[0].annotate(task_ids[1], verdict("same"))
        _wait_for_hints(pushed.log, 2)
        done = pulled(pushed.log, pushed.server, full=False, only_hinted=True)
        assert (done.decisions, done.projects, done.hints) == (2, 1, 2)
        annotators[0].delete(answer)
        pushed.server.delete_task(task_ids[1])
        _wait_for_hints(pushed.log, 2)
        actions = Counter(hint.action for hint in pushed.log.hints())
        assert actions == {"ANNOTATIONS_DELETED": 1, "TASKS_DELETED": 1}
        assert pulled(pushed.log, pushed.server, full=False, only_hinted=True).retracts == 2
        assert pushed.standing() == 0
    finally:
        running.should_exit = True
        thread.join()


def _wait_for_hints(log: ReviewLog, count: int) -> None:
    for _ in range(200):
        if len(log.hints()) >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"{len(log.hints())} of {count} hints arrived in 10 s")

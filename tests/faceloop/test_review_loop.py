"""The loop with a real Label Studio: questions out, an answer in, labels changed by one pull; an edit, a deletion."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from faceloop.cli import app
from faceloop.decision_tables import export_decisions, read_logs
from faceloop.review.access import with_review_log
from faceloop.review.figures import ReviewFigures, review_figures
from faceloop.runner import Workspace, run_stage
from facereview.kinds import OddOnesOut, subject_of
from facereview.labelstudio.local import RunningServer, free_port
from facereview.labelstudio.tokens import log_in
from facereview.screens.choices import chosen
from facestore.ids import JsonValue
from facestore.questions import Question, ReviewTask
from facestore.records import Assignment
from facestore.reviewlog import ReviewLog
from facestore.tables import read_table

from .runner_world import open_root

pytestmark = pytest.mark.integration


class Desk:
    """A workspace, its command line, and an annotator who answers by Label Studio's API."""

    def __init__(self, work: Workspace, server: RunningServer, folder: Path) -> None:
        self.work, self.folder = work, folder
        (folder / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
        token = log_in(server.url, server.email, server.password).legacy_token()
        self.wire = httpx.Client(base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=60)
        self.environ = {
            "FACELOOP_LABEL_STUDIO_URL": server.url,
            "FACELOOP_LABEL_STUDIO_TOKEN": server.token,
            "FACELOOP_LABEL_STUDIO_FILES": server.files,
        }

    def run(self, *words: str) -> dict[str, JsonValue]:
        arguments = [*words, "--root", str(self.work.root), "--params", str(self.folder / "params.yaml")]
        done: Result = CliRunner().invoke(app, arguments, env=self.environ, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
        return found

    def asked(self) -> list[tuple[Question, ReviewTask]]:
        def read(log: ReviewLog) -> list[tuple[Question, ReviewTask]]:
            questions = {question.question_id: question for question in log.questions()}
            return [(questions[task.question_id], task) for task in log.tasks(states={"pushed"})]

        return with_review_log(self.work, read)

    def annotate(self, task_id: int | None, result: list[JsonValue]) -> int:
        body = {"result": result, "lead_time": 3.5}
        answer = self.wire.post(f"api/tasks/{task_id}/annotations/", json=body).raise_for_status()
        return int(answer.json()["id"])

    def figures(self) -> ReviewFigures:
        found = review_figures(self.work)
        assert found is not None
        return found


@pytest.fixture
def desk(work: Workspace, label_studio: RunningServer, tmp_path: Path) -> Iterator[Desk]:
    for name in ("select.shares.boxes", "select.shares.landmarks", "select.shares.attributes"):
        section, _, leaf = name.rpartition(".")
        node: JsonValue = work.tree
        for part in section.split("."):
            assert isinstance(node, dict)
            node = node[part]
        assert isinstance(node, dict)
        node[leaf] = 0.0
    work = open_root(work.root, work.tree)
    export_decisions(work)
    for stage in ("cluster", "identify", "select"):
        run_stage(work, stage)
    opened = Desk(work, label_studio, tmp_path)
    yield opened
    opened.wire.close()


def test_the_webhook_tells_which_project_to_pull(desk: Desk) -> None:
    port, secret = free_port(), "a secret that nobody guesses"
    command = [str(Path(sys.executable).with_name("faceloop")), "serve-webhook", "--root", str(desk.work.root)]
    command += ["--params", str(desk.folder / "params.yaml"), "--port", str(port)]
    environ = {**os.environ, "FACELOOP_WEBHOOK_SECRET": secret}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stderr is not None
            assert "webhooks are taken" in receiver.stderr.readline()
            until(lambda: listens(port))
            desk.environ |= {"FACELOOP_WEBHOOK_URL": f"http://127.0.0.1:{port}/hook", "FACELOOP_WEBHOOK_SECRET": secret}
            desk.run("review", "push")
            assert desk.run("review", "pull", "--hinted", "--no-apply")["projects"] == 0
            _, task = next((q, t) for q, t in desk.asked() if q.kind == "odd_ones_out")
            desk.annotate(task.task_id, [])
            until(lambda: bool(with_review_log(desk.work, lambda log: log.hints())))
        finally:
            receiver.terminate()
    pulled = desk.run("review", "pull", "--hinted", "--no-apply")
    assert (pulled["projects"], pulled["versions"]) == (1, {"answered": 1})
    assert int(str(pulled["decisions"])) > 0
    assert with_review_log(desk.work, lambda log: log.hints()) == []


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Callable[[], bool], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)


def labels(work: Workspace) -> dict[str, tuple[str | None, str]]:
    rows = read_table(work.path("assignments"), "assignments", Assignment)
    return {row.face_id: (row.identity_id, row.state) for row in rows}


def test_an_answer_counts_within_one_pull_and_goes_with_its_deletion(desk: Desk) -> None:
    pushed = desk.run("review", "push")
    assert pushed["new"] == pushed["given"]
    assert desk.run("review", "push")["new"] == 0
    question, task = next((q, t) for q, t in desk.asked() if q.kind == "odd_ones_out")
    subject = subject_of(question)
    assert isinstance(subject, OddOnesOut)
    before = labels(desk.work)
    reference, members = subject.reference.face_ids[0], [member.face_id for member in subject.members]
    assert len({before[face][0] for face in (reference, *members)}) == 1, "a proposed identity is one identity"

    annotation = desk.annotate(task.task_id, [])  # no mark: all of them are the person
    first = desk.run("review", "pull")
    assert first["decisions"] == len(members)
    assert first["relabelled"] == sum(before[face] != labels(desk.work)[face] for face in before)
    assert {labels(desk.work)[face][1] for face in (reference, *members)} == {"confirmed"}
    again = desk.run("review", "pull", "--full")
    assert (again["decisions"], again["retracts"], again["relabelled"]) == (0, 0, None)

    body = {"result": [chosen("strangers", "why", ["1"])]}
    desk.wire.patch(f"api/annotations/{annotation}/", json=body).raise_for_status()
    edited = desk.run("review", "pull")
    assert (edited["decisions"], edited["retracts"]) != (0, 0)
    logs = read_logs(desk.work)
    cited = {word.annotation_version for word in logs.decisions if word.verb == "different"}
    assert cited <= {2}

    desk.wire.delete(f"api/annotations/{annotation}/").raise_for_status()
    desk.run("review", "pull", "--full")
    standing = with_review_log(desk.work, lambda log: log.settlements()[question.question_id])
    assert standing.decision_ids == ()
    assert labels(desk.work) == before, "what was taken back is as if it had never been said"


def test_status_queue_and_page_show_what_waits_and_what_minutes_bought(desk: Desk) -> None:
    pushed = desk.run("review", "push")
    question, task = next((q, t) for q, t in desk.asked() if q.kind == "odd_ones_out")
    desk.annotate(task.task_id, [])
    desk.run("review", "pull", "--no-apply")
    found = desk.run("review", "status", "--json")
    assert found["answers"] == 1
    assert found["waiting"] == int(str(pushed["open"])) - 1
    assert found["minutes"] == pytest.approx(3.5 / 60)
    assert desk.figures().gain == pytest.approx(question.gain)
    CliRunner().invoke(app, ["report", "--root", str(desk.work.root)], catch_exceptions=False)
    page = (desk.work.path("report") / "report.html").read_text(encoding="utf-8")
    assert "Review by people" in page
    assert "minutes of people per 1,000 identities" in page

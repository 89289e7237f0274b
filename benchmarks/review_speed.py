"""What the roads to and from Label Studio cost: pushing questions, answering webhooks, sweeping answers.

    python -m benchmarks.review_speed [--questions 1000] [--answers 10000]

Against the pinned server, started by this script on loopback with an empty SQLite database, and the real receiver in a
process of its own. Push: pairs with two pictures each and what is filled in; the peer makes such tasks one by one, as a
loop over the SDK does. Webhooks: 200 messages of 6 KB a second for 10 s, each on a connection of its own, then the same
with the database locked. Sweep: tasks with an answer each, 200 a project; a full pull the first time, and again when
nothing is new; the peer is the server's own JSON export of the same projects.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import cv2
import httpx
import numpy as np

from facereview.answers.consensus import Trust
from facereview.answers.reconcile import pull
from facereview.asking.projects import config_sha256, description_of
from facereview.asking.push import PushParams, push
from facereview.asking.shelf import FolderShelf
from facereview.kinds import SamePerson, Strip, ask
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer, free_port, start_server, stop_server
from facereview.labelstudio.tokens import log_in
from facereview.pictures import Picture
from facereview.schema import AttributeSchema
from facereview.screens import label_config
from facereview.screens.choices import chosen
from facestore.ids import sha256_hex
from facestore.questions import Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

SCHEMA = AttributeSchema(fields=())
PROJECT_TASKS = 200
RATE, SECONDS = 200, 10
SECRET = "a secret that nobody guesses"  # noqa: S105  # of a receiver that lives ten seconds
PEER_TASKS = 100


class Drawn:
    """A crop-sized JPEG, 224 px."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype=np.uint8)
        found, jpeg = cv2.imencode(".jpg", cv2.resize(noise, (224, 224)))
        assert found
        self._jpeg = bytes(jpeg)

    def jpeg(self, picture: Picture) -> bytes:
        return self._jpeg


def pairs(count: int) -> list[Question]:
    return [
        ask(
            SamePerson(
                left=Strip(face_ids=(f"a{rank:06d}",)),
                right=Strip(face_ids=(f"b{rank:06d}",)),
                similarity=0.3,
                chance=0.6,
            ),
            subset="made up",
            reason="unknown_pair",
            model_version="m1",
            chance=0.6,
            gain=1.0,
            seconds=4.0,
            rank=rank,
        )
        for rank in range(count)
    ]


@contextmanager
def timed(what: str, count: int, unit: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what}: {wall:.1f} s wall, {count / wall:.0f} {unit} a second (ours {cpu:.1f} s CPU)", flush=True)


def push_speed(server: RunningServer, count: int, scratch: Path) -> None:
    there = LabelStudioServer(server.url, server.token)
    log = ReviewLog(f"sqlite:///{scratch / 'push.sqlite3'}")
    shelf = FolderShelf(root=Path(server.files), prefix="push")
    shelf.folder.mkdir(parents=True)

    def ask_all() -> None:
        push(
            pairs(count),
            log=log,
            server=there,
            shelf=shelf,
            pictures=Drawn(),
            schema=SCHEMA,
            params=PushParams(project_tasks=PROJECT_TASKS, backlog=count, max_rounds=1),
            now=datetime.now(UTC),
            say=lambda _: None,
            group_of_face={},
            connect=lambda project: there.connect_folder(project, str(shelf.folder)),
        )

    with timed(f"push {count} questions, {2 * count} pictures", count, "questions"):
        ask_all()
    with timed("push them again, nothing made", count, "questions"):
        ask_all()
    project = there.create_project(
        title="One by one",
        description="",
        label_config=label_config("same_person", SCHEMA),
        overlap=1,
        model_version="m1",
    )
    with _wire(server) as wire, timed(f"peer: {PEER_TASKS} tasks one by one", PEER_TASKS, "tasks"):
        for number in range(PEER_TASKS):
            body = {
                "project": project.project_id,
                "data": {"question_id": str(number), "why": "", "left": [], "right": []},
            }
            task = wire.post("api/tasks/", json=body).raise_for_status().json()["id"]
            filled = {"task": task, "model_version": "m1", "score": 0.6, "result": [chosen("verdict", "why", ["same"])]}
            wire.post("api/predictions/", json=filled).raise_for_status()
    log.close()
    there.close()


def webhook_speed(scratch: Path) -> None:
    port = free_port()
    environ = {**os.environ, "FACELOOP_WEBHOOK_SECRET": SECRET}
    command = [
        str(Path(sys.executable).with_name("faceloop")),
        "serve-webhook",
        "--root",
        str(scratch),
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as receiver:
        try:
            _wait(port)
            _hammer(port, "webhooks")
            database = sqlite3.connect(scratch / "ledger.sqlite3", isolation_level=None)
            database.execute("BEGIN IMMEDIATE")
            _hammer(port, "webhooks while the database is locked")
            database.execute("COMMIT")
            database.close()
        finally:
            receiver.terminate()


def sweep_speed(server: RunningServer, count: int, scratch: Path) -> None:
    there = LabelStudioServer(server.url, server.token)
    log = ReviewLog(f"sqlite:///{scratch / 'sweep.sqlite3'}")
    questions = pairs(count)
    now = datetime.now(UTC)
    log.offer(questions, at=now)
    config = label_config("same_person", SCHEMA)
    answer = {"result": [chosen("verdict", "why", ["same"])], "lead_time": 3.0}
    numbers = []
    with _wire(server) as wire:
        for start in range(0, count, PROJECT_TASKS):
            key = sha256_hex(f"sweep {start}".encode())[:16]
            project = there.create_project(
                title=f"Sweep {start}",
                description=description_of(key),
                label_config=config,
                overlap=1,
                model_version="m1",
            )
            numbers.append(project.project_id)
            log.add_project(
                ReviewProject(
                    key=key, instance=there.instance, project_id=project.project_id, kind="same_person", round=1,
                    overlap=1, config_sha256=config_sha256(config), model_version="m1", created_at=now, is_open=False,
                )
            )  # fmt: skip
            tasks = [
                {
                    "data": {"question_id": question.question_id, "why": "", "left": [], "right": []},
                    "annotations": [answer],
                }
                for question in questions[start : start + PROJECT_TASKS]
            ]
            wire.post(f"api/projects/{project.project_id}/import", json=tasks).raise_for_status()
            made = [
                ReviewTask(
                    question_id=str(task.question_id), round=1, project_key=key, task_id=task.task_id, state="pushed",
                    changed_at=now,
                )
                for task in there.tasks(project.project_id)
            ]  # fmt: skip
            log.plan(made)
        for what, full in (("first full pull", True), ("again, nothing new", True), ("since the last answers", False)):
            with timed(f"{what}, {count} answers in {len(numbers)} projects", count, "tasks"):
                pull(
                    log=log,
                    server=there,
                    schema=SCHEMA,
                    trust=Trust(certainty=0.9, error_rate=0.03, error_rates={}),
                    is_known_face=lambda _: True,
                    now=lambda: datetime.now(UTC),
                    full=full,
                    say=lambda _: None,
                )
        with timed("peer: JSON export of the same projects", count, "tasks"):
            for number in numbers:
                wire.get(f"api/projects/{number}/export?exportType=JSON").raise_for_status().json()
    log.close()
    there.close()


def _wire(server: RunningServer) -> httpx.Client:
    token = log_in(server.url, server.email, server.password).legacy_token()
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=300)


def _hammer(port: int, what: str) -> None:
    def knock(number: int) -> tuple[int, float]:
        message = {
            "action": "ANNOTATION_CREATED",
            "task": {"id": number, "data": {"x": "y" * 6000}},
            "annotation": {"id": number},
            "project": {"id": 3},
        }
        begun = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/hook", json.dumps(message), {"Authorization": f"Bearer {SECRET}"})
        status = connection.getresponse().status
        connection.close()
        return status, 1000 * (time.perf_counter() - begun)

    with ThreadPoolExecutor(32) as pool:
        begun = time.perf_counter()
        waiting = []
        for number in range(RATE * SECONDS):
            time.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
            waiting.append(pool.submit(knock, number + 1))
        answers = [one.result() for one in waiting]
    times = np.array([ms for _, ms in answers])
    median, high = np.quantile(times, [0.5, 0.99])
    statuses = dict(Counter(status for status, _ in answers))
    print(f"{what}: median {median:.1f}, p99 {high:.1f}, longest {times.max():.1f} ms; statuses {statuses}", flush=True)


def _wait(port: int, patience_s: float = 60.0) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        try:
            HTTPConnection("127.0.0.1", port, timeout=5).connect()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the receiver does not listen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--answers", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        server = start_server(scratch / "server", is_legacy_token=True)
        try:
            steps: list[Callable[[], None]] = [
                lambda: push_speed(server, options.questions, scratch),
                lambda: webhook_speed(scratch),
                lambda: sweep_speed(server, options.answers, scratch),
            ]
            for step in steps:
                step()
        finally:
            stop_server(scratch / "server")


if __name__ == "__main__":
    main()

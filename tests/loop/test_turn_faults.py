"""Faults in a running deployment: whoever dies, nothing is lost, nothing is done twice, and the loop goes on."""

import os
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from faceloop.decision_tables import read_logs
from faceloop.operate.processes import find_process
from facereview.labelstudio.local import running
from facestore.records import Face, Footage
from facestore.tables import read_table

from .conftest import Turned, is_long, questions
from .deployment_world import Loop, kill, rows, until
from .test_turn import accounts, awaiting

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not is_long(), reason="takes a quarter of an hour: `make chaos` runs it"),
]
WORKED = ("ingest", "detect", "embed")


def locations(loop: Loop) -> Counter[str]:
    return Counter(row.uri for row in read_table(loop.work().path("footage"), "footage", Footage))


def assert_whole(loop: Loop) -> None:
    """In = published + rejected + pending; no face twice; each stage saw what the one before it published."""
    until(lambda: not loop.commands("run") and not staged(loop), "what was staged to be published")
    found = accounts(loop, *WORKED)
    assert all(taken == given for taken, given in found.values()), found
    faces = [row.face_id for row in read_table(loop.work().path("faces"), "faces", Face)]
    assert len(faces) == len(set(faces))
    assert max(locations(loop).values()) == 1


def staged(loop: Loop) -> list[Path]:
    return list(loop.place.root.glob("*.partial/*/_batch.json"))


def test_a_worker_that_is_killed_in_the_middle_of_detect_loses_nothing(turned: Turned) -> None:
    loop = turned.loop
    known = len(locations(loop))
    loop.drop(turned.sample / "gate")
    working = until(lambda: loop.commands("run", "detect", "--batch"), "a task in detect", pause_s=0.02)
    run_id = next(str(run["dag_run_id"]) for run in loop.runs("ingest_footage") if run["state"] == "running")
    for pid in (parent_of(working[0]), working[0]):  # Airflow's process of this task, and ours
        kill(pid)
    assert loop.ended("ingest_footage", run_id) == "success"
    mapped = [row for row in loop.tasks("ingest_footage", run_id) if row["task_id"] == "detect_batches"]
    assert max(int(str(row["try_number"])) for row in mapped) >= 2, "the killed task was tried again"
    assert len(locations(loop)) > known
    assert_whole(loop)


def test_a_killed_scheduler_finds_its_training_job_again(turned: Turned) -> None:
    loop = turned.loop
    run_id = loop.start("release_and_train", force=True, overrides=["pack.seed=42"])  # another release, another job
    (worker, *_) = until(lambda: loop.commands("jobs", "work"), "the job's worker", pause_s=0.01)
    os.kill(worker, signal.SIGSTOP)  # so that it has not ended before the scheduler has
    stopped = find_process(worker)
    restarts = loop.part("scheduler").restarts
    process = loop.part("scheduler").process
    assert process is not None
    assert stopped is not None, "the job was in the middle"
    kill(process.pid)
    until(lambda: loop.part("scheduler").restarts == restarts + 1 and loop.part("scheduler").process, "a new scheduler")
    assert find_process(worker) == stopped, "the job goes on without a scheduler"
    os.kill(worker, signal.SIGCONT)
    assert until(lambda: awaiting(loop), "approval") == run_id
    jobs = [job for job in rows(loop.faceloop("jobs", "list"), "jobs") if job["kind"] == "train"]
    newest = max(jobs, key=lambda job: str(job["created_at"]))
    assert (newest["state"], newest["attempt"]) == ("succeeded", 1), jobs
    loop.approve("release_and_train", run_id)
    assert loop.ended("release_and_train", run_id) == "success"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_the_same_run_asked_for_twice_at_once_works_once(turned: Turned) -> None:
    loop = turned.loop
    target = loop.place.inbox / "twice"
    target.mkdir()
    picture = turned.sample / "album" / "picnic-01.jpg"
    (target / "other.jpg").write_bytes(picture.read_bytes() + b"\0")  # other bytes, same picture
    with ThreadPoolExecutor(4) as many:
        asked = list(many.map(lambda _: until(lambda: loop.start("ingest_footage"), "a run"), range(3)))
        beside = many.submit(loop.faceloop, "run", "ingest", "--wait", "120")
        states = [loop.ended("ingest_footage", run_id) for run_id in asked]
        beside.result()
    assert set(states) == {"success"}
    until(lambda: any("twice" in uri for uri in locations(loop)), "the new picture")
    assert_whole(loop)


def test_a_locked_metadata_database_is_waited_for(turned: Turned) -> None:
    loop, seconds = turned.loop, 30.0 if is_long() else 12.0
    restarts = {name: loop.part(name).restarts for name in ("scheduler", "api-server", "triggerer", "dag-processor")}
    run_id = loop.start("ingest_footage")
    with closing(sqlite3.connect(loop.place.metadata, timeout=60, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("ROLLBACK")
    assert loop.ended("ingest_footage", run_id) == "success"
    until(lambda: loop.airflow.unhealthy() == [], "four healthy parts")
    again = loop.start("ingest_footage")
    assert loop.ended("ingest_footage", again) == "success"
    assert {name: loop.part(name).restarts for name in restarts} == restarts
    assert_whole(loop)


def test_an_hour_of_polls_without_label_studio_loses_no_answer(turned: Turned) -> None:
    loop, polls = turned.loop, 12 if is_long() else 2
    server = running(loop.place.labels)
    assert server is not None
    task = next(task for question, task in questions(loop) if question.kind == "odd_ones_out")
    said = len(read_logs(loop.work()).decisions)
    loop.pause("sync_reviews", is_paused=True)
    loop.annotate(task.task_id)
    os.kill(loop.supervisor(), signal.SIGSTOP)  # or it would bring the server back at once
    try:
        kill(server.pid)
        loop.pause("sync_reviews", is_paused=False)
        for _ in range(polls):
            run_id = loop.start("sync_reviews")
            assert loop.ended("sync_reviews", run_id) == "success"
            assert loop.task("sync_reviews", run_id, "pull")["state"] == "skipped"
        assert len(read_logs(loop.work()).decisions) == said
    finally:
        os.kill(loop.supervisor(), signal.SIGCONT)
    until(lambda: running(loop.place.labels), "Label Studio, brought back by the supervisor")
    loop.start("sync_reviews")  # the next poll
    until(lambda: len(read_logs(loop.work()).decisions) > said, "the answer that was given before")


def test_a_hundred_mapped_tasks_are_no_trouble(turned: Turned) -> None:
    loop, began = turned.loop, time.monotonic()
    run_id = loop.start("hundred_batches")
    assert loop.ended("hundred_batches", run_id, 900) == "success"
    tasks = loop.tasks("hundred_batches", run_id)
    assert len(tasks) == 100
    assert {row["try_number"] for row in tasks} == {1}
    print(f"{(time.monotonic() - began) / 100:.2f} s of Airflow a batch")  # noqa: T201

"""The loop turns by itself: Airflow's four parts, a real Label Studio, an annotator, and who approves."""

import subprocess
import time

import pytest

from faceloop.decision_tables import read_logs
from facereview.kinds import OddOnesOut, subject_of
from facestore.ledger import Ledger
from facestore.records import Assignment, Face
from facestore.tables import read_table

from .conftest import Turned
from .deployment_world import FACELOOP, Loop, rows, until
from .leaks import found_in, places_of_leaks, secrets_of, vectors_of

pytestmark = pytest.mark.integration
NAME = "Zdenka Tresnakova"  # of nobody
STAGES = ("ingest", "detect", "embed", "cluster", "identify", "select")


def accounts(loop: Loop, *stages: str) -> dict[str, tuple[int, int]]:
    """Of each stage's last run: what came in, and what came out of it, was rejected or waits."""
    ledger = Ledger(loop.work().ledger_url())
    found = {}
    try:
        for stage in stages:
            run = ledger.latest(stage)
            assert run is not None, f"{stage} was never published"
            assert isinstance(run.counts, dict)
            given = sum(_sum(run.counts[name]) for name in ("published", "rejected", "pending"))
            found[stage] = (int(str(run.counts["in"])), given)
    finally:
        ledger.close()
    return found


def _sum(count: object) -> int:
    return sum(_sum(one) for one in count.values()) if isinstance(count, dict) else int(str(count))


def give_a_name(loop: Loop) -> None:
    """Somebody says who it is, on the machine of the deployment."""
    rows = read_table(loop.work().path("assignments"), "assignments", Assignment)
    identity = next(row.identity_id for row in rows if row.identity_id is not None)
    command = [FACELOOP, "identities", "rename", identity, NAME, "--by", "ann"]
    places = ["--root", str(loop.place.root), "--params", str(loop.place.params)]
    subprocess.run([*command, *places], check=True, capture_output=True)


def labels(loop: Loop) -> dict[str, str]:
    rows = read_table(loop.work().path("assignments"), "assignments", Assignment)
    return {row.face_id: row.state for row in rows}


def test_footage_becomes_questions_without_a_hand_on_it(turned: Turned) -> None:
    loop = turned.loop
    found = accounts(loop, *STAGES)
    assert all(taken == given for taken, given in found.values()), found
    faces = [row.face_id for row in read_table(loop.work().path("faces"), "faces", Face)]
    assert len(faces) == len(set(faces)) > 50
    runs = loop.runs("label_identities")
    assert {run["run_type"] for run in runs} == {"asset_triggered"}, "faces set it off, not a clock"


def test_an_answer_comes_back_as_labels_and_a_release_that_somebody_approved(turned: Turned) -> None:
    loop, began = turned.loop, time.monotonic()
    question, task = next((question, task) for question, task in turned.asked if question.kind == "odd_ones_out")
    subject = subject_of(question)
    assert isinstance(subject, OddOnesOut)
    people = {subject.reference.face_ids[0], *(member.face_id for member in subject.members)}
    assert read_logs(loop.work()).decisions == ()
    give_a_name(loop)

    loop.annotate(task.task_id)
    until(lambda: read_logs(loop.work()).decisions, "decisions")
    loop.times["answer → decisions"] = time.monotonic() - began
    heard = [run for run in loop.runs("sync_reviews") if run["run_type"] == "asset_triggered"]
    assert heard, "the webhook told Airflow, so that nobody had to wait for the clock"
    until(lambda: {labels(loop)[face] for face in people} == {"confirmed"}, "new labels")
    loop.times["answer → labels"] = time.monotonic() - began

    run_id = until(lambda: awaiting(loop), "a release that waits for approval")
    loop.times["answer → approval asked"] = time.monotonic() - began
    assert loop.faceloop("releases", "list")["current"] is None, "nothing goes on before somebody agrees"
    assert not loop.work().path("exported").exists()
    loop.approve("release_and_train", run_id)
    assert loop.ended("release_and_train", run_id) == "success"
    loop.times["answer → promoted"] = time.monotonic() - began
    promoted = loop.faceloop("releases", "list")
    assert "admin" in str(promoted), promoted
    states = {str(row["task_id"]): row["state"] for row in loop.tasks("release_and_train", run_id)}
    assert {states[name] for name in RELEASED} == {"success"}
    assert {states[name] for name in OF_A_BETTER_MODEL} == {"skipped"}, "a training of seconds shows no gain"
    assert loop.faceloop("models", "list")["current"] is None
    made = {job["kind"]: job["state"] for job in rows(loop.faceloop("jobs", "list"), "jobs")}
    assert made == {"train": "succeeded", "evaluate": "succeeded"}
    found = accounts(loop, *STAGES, "pack")
    assert all(taken == given for taken, given in found.values()), found
    print({name: round(seconds) for name, seconds in loop.times.items()})  # noqa: T201


def test_nothing_secret_and_no_name_came_out_of_the_turn(turned: Turned) -> None:
    """Bar B18. What is looked for is known to lie where it belongs; a line planted in a log is found."""
    loop, place = turned.loop, turned.loop.place
    needles = {what: secret.encode() for what, secret in secrets_of(place).items()}
    needles |= vectors_of(loop, faces=20) | {"a name": NAME.encode()}
    at_home = found_in(iter([place.folder / "keys.json", *place.root.glob("ledger.sqlite3*")]), needles)
    assert {"webhook", "fernet", "a name"} <= set(at_home)
    assert sum(name.startswith("vector of") for name in needles) == 40
    files = list(places_of_leaks(place))
    assert sum(path.suffix == ".log" for path in files) > 20
    assert found_in(iter(files), needles) == {}

    leaky = place.logs / "leaky.log"
    leaky.write_bytes(b"asked with " + needles["webhook"] + b" for " + next(iter(vectors_of(loop, faces=1).values())))
    assert len(found_in(iter([leaky]), needles)) == 2


def awaiting(loop: Loop) -> str | None:
    """The run of `release_and_train` that asks for approval now, if one does."""
    for run in loop.runs("release_and_train"):
        run_id = str(run["dag_run_id"])
        if run["state"] == "running" and loop.task("release_and_train", run_id, "approve")["state"] in WAITING:
            return run_id
    return None


RELEASED = ("pack", "gate", "train", "evaluate", "judge", "approve", "promote")
OF_A_BETTER_MODEL = ("promote_model", "export", "switch")
WAITING = ("deferred", "awaiting_input")

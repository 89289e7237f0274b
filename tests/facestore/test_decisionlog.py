"""The decision log, on SQLite and on PostgreSQL: nothing is lost, doubled or changed, whoever writes and dies."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, decide
from facestore.errors import DataError, StoreError

NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
_scopes = count()

WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from facestore.decisionlog import DecisionLog
from facestore.decisions import decide
url, writer, batches, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
log, start = DecisionLog(url), datetime(2026, 5, 1, tzinfo=UTC)
print("ready", flush=True)
for batch in range(batches):
    shared = decide("ignore", face_id=f"all {batch}", annotator="everybody", decided_at=start)
    own = [
        decide("ignore", face_id=f"{writer} {batch} {row}", annotator=writer, decided_at=start + timedelta(seconds=row))
        for row in range(size)
    ]
    log.append([*own, shared])
log.close()
"""


def _same(a: str, b: str, minute: int = 0) -> Decision:
    return decide("same", face_id=a, other_face_id=b, annotator="ann", decided_at=NOON + timedelta(minutes=minute))


@pytest.fixture
def log(url: str) -> Iterator[DecisionLog]:
    opened = DecisionLog(url)
    yield opened
    opened.close()


@pytest.fixture
def scope() -> str:
    """A prefix of ids of this test: the server's database is shared, and nothing can be taken out of it."""
    return f"t{next(_scopes)}-"


def test_decisions_come_back_as_they_were_said_in_order_of_time(log: DecisionLog, scope: str) -> None:
    late = decide(
        "different", face_id=f"{scope}a", other_face_id=f"{scope}b", annotator="ann", note="wirklich · 真",
        question_id="q1", annotation_id="7", decided_at=NOON + timedelta(minutes=5),
    )  # fmt: skip
    early = decide(
        "attribute", face_id=f"{scope}a", name="glasses", value="yes", annotator="ann", decided_at=NOON,
        annotation_version=3,
    )  # fmt: skip
    assert log.append([late, early]) == 2
    assert list(log.of_face(f"{scope}a")) == [early, late]
    assert list(log.of_face(f"{scope}b")) == [late]
    assert [decision for decision in log.all() if decision in (late, early)] == [early, late]
    assert log.find(late.decision_id) == late
    assert log.find("never said") is None


def test_a_decision_said_twice_is_written_once(log: DecisionLog, scope: str) -> None:
    said = _same(f"{scope}a", f"{scope}b")
    other = _same(f"{scope}a", f"{scope}c")
    assert log.append([said, said]) == 1
    assert log.append([said, other]) == 1
    assert log.append([]) == 0
    assert len(list(log.of_face(f"{scope}a"))) == 2


def test_a_retract_of_nothing_is_refused_with_all_that_came_with_it(log: DecisionLog, scope: str) -> None:
    said = _same(f"{scope}a", f"{scope}b")
    lost = decide("retract", retracts=f"{scope}no such", annotator="ann", decided_at=NOON)
    with pytest.raises(DataError, match=f"no decision {scope}no such to retract"):
        log.append([said, lost])
    assert list(log.of_face(f"{scope}a")) == []
    found = decide("retract", retracts=said.decision_id, annotator="ann", decided_at=NOON)
    assert log.append([found, said]) == 2


def test_a_decision_that_was_changed_after_it_got_its_id_is_refused(log: DecisionLog, scope: str) -> None:
    forged = replace(_same(f"{scope}a", f"{scope}b"), annotator="eve")
    with pytest.raises(DataError, match="says something else than its id"):
        log.append([forged])
    assert log.find(forged.decision_id) is None


def test_decisions_outlive_the_process_that_wrote_them(url: str, log: DecisionLog, scope: str) -> None:
    log.append([_same(f"{scope}a", f"{scope}b")])
    again = DecisionLog(url)
    assert list(again.of_face(f"{scope}a")) == [_same(f"{scope}a", f"{scope}b")]
    again.close()


def _start(url: str, writer: str, batches: int, size: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, url, writer, str(batches), str(size)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def test_processes_that_write_at_once_lose_and_double_nothing(url: str, scope: str) -> None:
    batches, size = 12, 10
    names = [f"{scope}one", f"{scope}two", f"{scope}three"]
    writers = [_start(url, name, batches, size) for name in names]
    for writer in writers:
        assert writer.wait(120) == 0
        writer.stdout.close()  # type: ignore[union-attr]
    log = DecisionLog(url)
    by_writer = [sum(decision.annotator == name for decision in log.all()) for name in names]
    shared = [decision.decision_id for decision in log.all() if decision.annotator == "everybody"]
    log.close()
    assert by_writer == [batches * size] * 3
    assert len(shared) == len(set(shared)) >= batches


def test_a_killed_writer_leaves_whole_batches_only(url: str, scope: str) -> None:
    size = 2_000
    log = DecisionLog(url)
    for attempt in range(3):
        name = f"{scope}killed {attempt}"
        writer = _start(url, name, 1_000, size)
        for _ in range(3_000):
            if any(decision.annotator == name for decision in log.all()):
                break
            time.sleep(0.01)
        time.sleep(0.07 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()  # type: ignore[union-attr]
        found = sum(decision.annotator == name for decision in log.all())
        assert found >= size
        assert found % size == 0
        assert log.append([_same(f"{scope}after", f"{scope}{attempt}")]) == 1  # nobody is left waiting
    log.close()


def test_a_database_that_went_away_is_a_store_error(tmp_path: Path) -> None:
    log = DecisionLog(f"sqlite:///{tmp_path / 'l'}")
    log.close()
    for name in ("l", "l-wal", "l-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "l").mkdir()
    with pytest.raises(StoreError, match="cannot read the decision log"):
        list(log.all())
    with pytest.raises(StoreError, match="cannot append 1 decisions"):
        log.append([_same("a", "b")])

"""Commands as processes beside Airflow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from facedags.assets import FACES
from facedags.local import LocalCommand
from facedags.results import ResultRefused

Answering = Callable[[dict[str, Any]], Path]
HOSTILE = [
    "; rm -rf /",
    "$(reboot)",
    "`id`",
    "a b\nc",
    "--root=/etc",
    "'\"",
    "{{ 7 * 7 }}",
    "ü€😀",
    "x.sh",
    "&& true #",
]


class _Before:
    def __init__(self, state: str) -> None:
        self.state = state


class _Instance:
    """Of Airflow's task instance, what a command asks."""

    def __init__(self, before: str | None) -> None:
        self._before = before
        self.pushed: dict[str, Any] = {}

    def get_previous_dagrun(self) -> _Before | None:
        return _Before(self._before) if self._before else None

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


class _Event:
    extra: Any = None


def _context(before: str | None = None) -> Any:
    return {"ti": _Instance(before), "outlet_events": {FACES: _Event()}}


def _command(*argv: Any, **how: Any) -> LocalCommand:
    made = LocalCommand(task_id="t", argv=list(argv), skip_on=how.pop("skip_on", [99]), **how)
    made.env = {"FACELOOP_RUN_ID": "dag/run", "FACELOOP_TASK": "t", "FACELOOP_TRY": "1"}
    return made


def _calls(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_last_line_is_the_result_and_the_run_is_told(answering: Answering) -> None:
    calls = answering({"*": {"stdout": 'noise\n{"published": 3}\n'}})
    assert _command("run", "ingest").execute(_context()) == {"published": 3}
    (call,) = _calls(calls)
    assert call["argv"] == ["run", "ingest"]
    assert call["env"]["FACELOOP_RUN_ID"] == "dag/run"


@pytest.mark.parametrize("typed", HOSTILE)
def test_what_people_typed_is_one_argument_and_never_code(answering: Answering, typed: str) -> None:
    calls = answering({})
    _command("restrict", "find", "--", typed).execute(_context())
    assert _calls(calls)[0]["argv"] == ["restrict", "find", "--", typed]


def test_nothing_to_do_is_a_skipped_task(answering: Answering) -> None:
    answering({"*": {"code": 99, "stdout": '{"new": 0}\n'}})
    with pytest.raises(AirflowSkipException):
        _command("loop", "plan-footage").execute(_context())


def test_a_held_lease_is_retried_or_skipped_as_the_task_says(answering: Answering) -> None:
    answering({"*": {"code": 75, "stderr": "faceloop: detect is already running\n"}})
    with pytest.raises(AirflowException, match=r"75.*already running"):
        _command("run", "detect").execute(_context())
    with pytest.raises(AirflowSkipException):
        _command("review", "pull", skip_on=[99, 75]).execute(_context())


def test_an_error_is_told_in_the_words_of_the_command(answering: Answering) -> None:
    answering({"*": {"code": 2, "stderr": "50 %\nfaceloop: purity 0.91 is below the floor 0.95\n"}})
    with pytest.raises(AirflowException, match=r"ended with 2: faceloop: purity 0\.91"):
        _command("releases", "gate").execute(_context())


def test_an_error_in_a_line_of_the_structured_log_is_told_as_its_message(answering: Answering) -> None:
    answering({"*": {"code": 2, "stderr": '{"level": "error", "message": "no single identity"}\n'}})
    with pytest.raises(AirflowException, match=r"ended with 2: no single identity$"):
        _command("restrict", "find").execute(_context())


def test_a_result_too_long_for_xcom_fails_the_task(answering: Answering) -> None:
    answering({"*": {"stdout": json.dumps({"a": "x" * 60_000}) + "\n"}})
    with pytest.raises(ResultRefused, match="49152"):
        _command("run", "ingest").execute(_context())


def test_a_picked_list_is_what_tasks_are_mapped_over_and_the_rest_is_kept(answering: Answering) -> None:
    answering({"*": {"stdout": '{"shares": ["p/000", "p/001"], "new": 9}\n'}})
    context = _context()
    assert _command("loop", "plan-footage", pick="shares").execute(context) == ["p/000", "p/001"]
    assert context["ti"].pushed["result"]["new"] == 9


@pytest.mark.parametrize(("before", "is_skipped"), [("success", True), ("failed", False), (None, False)])
def test_nothing_to_do_is_believed_only_after_a_run_that_ended_well(
    answering: Answering, before: str | None, is_skipped: bool
) -> None:
    answering({"*": {"code": 99}})
    plan = _command("loop", "plan-footage", pick="shares", resumes=True)
    if is_skipped:
        with pytest.raises(AirflowSkipException):
            plan.execute(_context(before))
    else:
        assert plan.execute(_context(before)) == []


@pytest.mark.parametrize("rendered", ["False", "", "0", "None"])
def test_a_task_that_was_not_asked_for_is_skipped_without_a_call(answering: Answering, rendered: str) -> None:
    calls = answering({})
    with pytest.raises(AirflowSkipException):
        _command("review", "push", only_if=rendered).execute(_context())
    assert _calls(calls) == []


def test_an_asset_event_carries_the_digest_and_nothing_else(answering: Answering) -> None:
    answering({"*": {"stdout": '{"what": "faces", "digest": "abc", "changed": true}\n'}})
    context = _context()
    _command("loop", "changed", "faces", outlets=[FACES]).execute(context)
    assert context["outlet_events"][FACES].extra == {"digest": "abc"}


def test_a_killed_task_leaves_no_process(answering: Answering) -> None:
    calls = answering({"*": {"sleep_s": 60}})
    running = _command("run", "detect")
    ended: list[BaseException] = []

    def run() -> None:
        try:
            running.execute(_context())
        except AirflowException as error:
            ended.append(error)

    thread = Thread(target=run)
    thread.start()
    pid = _pid(calls)
    running.on_kill()
    thread.join(10)
    assert len(ended) == 1
    assert _is_gone(pid)


def test_a_command_ends_with_the_worker_that_was_killed(answering: Answering) -> None:
    calls = answering({"*": {"sleep_s": 60}})
    program = "from facedags.local import LocalCommand\n"
    program += "c = LocalCommand(task_id='t', argv=['run', 'detect']); c.env = {}; c.execute({})\n"
    worker = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        pid = _pid(calls)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert _is_gone(pid)


def _pid(calls: Path) -> int:
    for _ in range(1200):
        if found := calls.read_text().splitlines():
            return int(json.loads(found[0])["pid"])
        time.sleep(0.05)
    raise AssertionError("the command was not started")


def _is_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False

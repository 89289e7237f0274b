"""Structured logs: one JSON object a line, with its run and task; no name of a person or of a file of the footage."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.progress import ConsoleProgress, JsonLines, JsonProgress, SilentProgress, complain, progress_for
from faceloop.progress import without_footage as scrubbed
from facestore.activities import Activities

from .runner_world import SMALL

ROOT = Path(__file__).parents[2]
RUN = {"FACELOOP_LOG": "json", "FACELOOP_RUN_ID": "ingest_footage/run 1", "FACELOOP_TASK": "detect[3]"}
NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def progress(said: list[str], seconds: Iterator[float]) -> JsonProgress:
    lines = JsonLines(run_id="dag/run", task="t[1]", attempt="2", write=said.append, now=lambda: NOON)
    return JsonProgress(lines, monotonic=lambda: next(seconds))


@given(st.text(max_size=200))
def test_any_message_is_one_line_that_reads_back(words: str) -> None:
    said: list[str] = []
    progress(said, iter(())).say(words)
    (line,) = said
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {
        "time": "2026-05-01T12:00:00.000+00:00",
        "level": "info",
        "run_id": "dag/run",
        "task": "t[1]",
        "attempt": "2",
        "message": words,
    }


def test_tracking_tells_the_beginning_the_end_and_every_ten_seconds() -> None:
    said: list[str] = []
    items = progress(said, iter([0.0, 1.0, 11.0, 11.5, 12.0])).track(["a", "b", "c"], "detect")
    assert list(items) == ["a", "b", "c"]
    found = [json.loads(line) for line in said]
    assert [(one["message"], one["done"], one["total"]) for one in found] == [
        ("detect", 0, 3),
        ("detect", 1, 3),
        ("detect", 3, 3),
    ]
    assert list(SilentProgress().track([1], "x")) == [1]


def test_people_get_plain_lines_unless_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress_for({}), ConsoleProgress)
    assert isinstance(progress_for(RUN), JsonProgress)
    complain({}, "cluster: missing input 'anna.mp4'")
    assert capsys.readouterr().err == "faceloop: cluster: missing input 'anna.mp4'\n"
    complain(RUN, "sources.csv, row 3: 'gate/anna at home.MP4' stands there twice")
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["run_id"]) == ("error", "ingest_footage/run 1")
    assert said["message"] == "sources.csv, row 3: [footage] stands there twice"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cannot read /in/anna.mov: broken", "cannot read [footage]: broken"),
        ('"it\'s anna.jpg" is no photo', "[footage] is no photo"),
        ("cannot look at s3://bucket/gate/anna smith: denied", "cannot look at s3://bucket/[footage]: denied"),
        ("detect: missing input /data/faces; run it", "detect: missing input /data/faces; run it"),
        ("faces.parquet and release.json stay", "faces.parquet and release.json stay"),
    ],
)
def test_names_of_footage_are_taken_out_of_errors(text: str, left: str) -> None:
    assert scrubbed(text) == left


@pytest.mark.integration
def test_a_flow_logs_lines_of_json_that_name_no_file_and_no_person(face_source: Path, tmp_path: Path) -> None:
    overrides = [word for one in (*SMALL, "detect.sample_fps=2.0") for word in ("-S", one)]
    program = [sys.executable, "-c", "import sys; sys.argv[0] = 'faceloop'; from faceloop.cli import main; main()"]
    environ = {**os.environ, **RUN, "FACELOOP_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, "flow", str(face_source), "--root", str(tmp_path), *overrides],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["run_id"] for line in lines} == {RUN["FACELOOP_RUN_ID"]}
    assert {line["task"] for line in lines} == {"detect[3]"}
    assert {"ingest", "detect", "embed"} <= {line["message"] for line in lines}
    for file in face_source.rglob("*"):
        for name in {file.name, file.stem} if file.is_file() else set():
            assert name not in done.stderr, name
    assert "SECRET-CAMERA" not in done.stderr
    with closing(Activities(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")) as activities:
        (activity,) = activities.of_run(RUN["FACELOOP_RUN_ID"])
    assert (activity.command, activity.outcome, activity.task) == ("flow", "done", "detect[3]")

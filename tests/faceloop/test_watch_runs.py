"""The report of a Dag run: what its commands did, no more; safe in any browser and in any folder."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.watch.figures import figure
from faceloop.watch.page import count_words, number, render, write_report
from faceloop.watch.runs import Change, CheckReport, RunReport, TaskReport, airflow_link, folder_of, run_report
from facestore.activities import Activities, Activity
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue
from facestore.measurements import Measurements

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
RUN = "ingest_footage/scheduled__2026-05-01T12:00:00+00:00"


def activity(task: str, start_s: float, seconds: float, **changes: object) -> Activity:
    start = NOON + timedelta(seconds=start_s)
    plain = Activity(
        run_id=RUN, task=task, attempt=1, command="run detect", started_at=start,
        ended_at=start + timedelta(seconds=seconds), outcome="done", exit_code=0, error=None, state="staged", items=3,
        counts={"in": 4, "rejected": {"extreme_pose": 1}, "published": 3},
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.sqlite3'}"


def reported(url: str, *done: Activity, airflow: str | None = None) -> RunReport:
    with closing(Activities(url)) as activities, closing(Measurements(url)) as measurements:
        for one in done:
            activities.record(one, by="test")
        return run_report(RUN, activities, measurements, airflow=airflow)


def test_a_report_has_every_command_of_its_run_on_one_time_line(url: str) -> None:
    other = activity("detect[0]", 0, 1, run_id="ingest_footage/another")
    report = reported(url, activity("detect[1]", 2, 5), activity("detect[0]", 1, 2, outcome="failed"), other)
    assert [(task.task, task.offset_s, task.seconds) for task in report.tasks] == [
        ("detect[0]", 0, 2),
        ("detect[1]", 1, 5),
    ]
    assert (report.seconds, report.busy_s) == (6, 7)
    assert (report.of("done"), report.of("failed")) == (1, 1)


def test_an_attempt_that_left_no_word_is_told(url: str) -> None:
    report = reported(url, activity("a", 0, 1, attempt=2), activity("b", 1, 1), activity("b", 2, 1, attempt=2))
    assert [(task.task, task.is_retry) for task in report.tasks] == [("a", True), ("b", False), ("b", False)]
    assert "left no word" in render(report)


def test_a_run_without_a_word_is_an_error(url: str) -> None:
    with pytest.raises(DataError, match="no command of ingest_footage/scheduled"):
        reported(url)


def test_figures_are_compared_with_the_run_before(url: str) -> None:
    with closing(Measurements(url)) as log:
        log.record("measure", [figure("faces", 3), figure("embeddings", 2)], run_id="ingest_footage/earlier")
        log.record("measure", [figure("faces", 5), figure("embeddings", 2), figure("footage", 1)], run_id=RUN)
        log.record("check", [figure("check_passed", 0, check="quality_drift")], run_id=RUN)
    report = reported(url, activity("measure", 0, 1))
    assert [(one.name, one.before, one.now) for one in report.changes] == [("faces", 3, 5), ("footage", None, 1)]
    assert (report.unchanged, report.compared_with) == (1, "ingest_footage/earlier")
    assert [(one.name, one.is_passed, one.figure) for one in report.checks] == [("quality_drift", False, None)]


def test_the_page_and_the_values_are_written_and_can_be_replaced(url: str, tmp_path: Path) -> None:
    report = reported(url, activity("detect[0]", 0, 2.5), airflow="http://localhost:8080/")
    page = write_report(tmp_path, report)
    assert write_report(tmp_path, report) == page
    assert page.parent.parent == tmp_path / "runs"
    values = json.loads((page.parent / "report.json").read_text())
    assert values["run_id"] == RUN
    assert values["tasks"][0]["counts"] == {"in": 4, "rejected": {"extreme_pose": 1}, "published": 3}
    text = page.read_text()
    link = "http://localhost:8080/dags/ingest_footage/runs/scheduled__2026-05-01T12%3A00%3A00%2B00%3A00"
    assert f'href="{link}"' in text
    for word in ("detect[0]", "rejected: extreme_pose 1", "2.50"):
        assert word in text


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=60))
def test_nothing_of_a_run_is_ever_markup(words: str) -> None:
    hostile = f"<script>{words}</script>"
    task = TaskReport(
        task=hostile, attempt=2, command=hostile, outcome="failed", error=hostile, started_at=NOON, offset_s=0,
        seconds=1, counts={hostile: {hostile: 1}}, is_retry=True,
    )  # fmt: skip
    change = Change(name=hostile, labels=((hostile, hostile),), before=None, now=1)
    check = CheckReport(name=hostile, is_passed=False, figure=None)
    report = RunReport(
        run_id=hostile, started_at=NOON, seconds=1, busy_s=1, tasks=(task,), checks=(check,), changes=(change,),
        unchanged=0, compared_with=hostile, airflow_url=airflow_link("http://localhost", f'"{hostile}/{hostile}'),
    )  # fmt: skip
    assert "<script" not in render(report)


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_a_folder_is_one_safe_name_and_no_two_runs_share_it(first: str, second: str) -> None:
    for name in (folder_of(first), folder_of(second)):
        assert 0 < len(name.encode()) <= 200
        assert not set(name) & set("/\\%.\0 ")
    assert (folder_of(first) == folder_of(second)) == (first == second)


def test_the_link_into_airflow_is_quoted() -> None:
    assert airflow_link("http://a/", "dag/manual run?x=1") == "http://a/dags/dag/runs/manual%20run%3Fx%3D1"
    with pytest.raises(ConfigError, match="http"):
        airflow_link("javascript:alert(1)", "dag/run")


def test_counts_are_told_one_by_one() -> None:
    counts: JsonValue = {"in": 1234, "rejected": {"too_small": 2}, "due": True, "share": 0.12345}
    told = [("in", "1,234"), ("rejected: too_small", "2"), ("due", "yes"), ("share", "0.1235")]
    assert [(what, many) for what, many in count_words(counts)] == told
    assert number(None) == "–"

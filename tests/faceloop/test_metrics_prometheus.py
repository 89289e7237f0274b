"""A real root, scraped by a real Prometheus: every panel is asked, an alert fires, the catalogue goes away."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from faceloop.runner import Workspace
from faceloop.watch.checks import check_all, passed_figures
from faceloop.watch.figures import loop_figures
from facestore.activities import Activities, Activity
from facestore.leases import Leases
from facestore.measurements import Measurements
from facestore.questions import Question, ReviewProject, ReviewTask
from facestore.records import Assignment, Identity
from facestore.reviewlog import ReviewLog

from .runner_world import open_root
from .test_metrics_rules import ALERTS, OBSERVABILITY, expressions, program, rules
from .watch_world import Tables, identities, labels, put

FAILING = {"rejected_share:ingest", "largest_identity_share", "labels_of_unknown_faces"}  # by what the root holds
QUIET = (  # what the root of the test has nothing to say to
    "faceloop_agreement_ratio",
    'sum by (command) (increase(faceloop_commands_total{outcome="failed"}[1h])) > 0',
    "changes(faceloop_promotions_total[2m]) > 0",
)
Json = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A Prometheus that scrapes a root's endpoint."""

    prometheus: str  # its address
    endpoint: str
    root: Path

    def ask(self, path: str, **query: str) -> Json:
        with urlopen(f"{self.prometheus}/api/v1/{path}?{urlencode(query)}", timeout=10) as answer:  # noqa: S310  # ours
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def value(self, expression: str) -> list[float]:
        return [float(row["value"][1]) for row in self.ask("query", query=expression)["result"]]

    def until(self, holds: Callable[[], bool], seconds: float = 40.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.2)


@pytest.fixture
def watched(work: Workspace, tmp_path: Path) -> Iterator[Watched]:
    """A root of real footage, measured and checked, with one check that fails; its endpoint; a real Prometheus."""
    _fill(open_root(work.root, {**work.tree, "loop": _strict(work.tree["loop"])}))
    metrics, port = _free_port(), _free_port()
    configuration = yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{metrics}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copyfile(ALERTS, tmp_path / "alerts.yml")
    serve = "import sys; sys.argv[0] = 'faceloop'; from faceloop.cli import main; main()"
    commands = [
        [sys.executable, "-c", serve, "serve-metrics", "--port", str(metrics), "--root", str(work.root)],
        [program("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}", "--log.level=warn",
         f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"],
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        started = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        endpoint = f"http://127.0.0.1:{metrics}"
        found = Watched(prometheus=f"http://127.0.0.1:{port}", endpoint=endpoint, root=work.root)
        found.until(lambda: _is_ready(port) and found.value('up{job="faceloop"}') == [1])
        yield found
    finally:
        for one in started:
            one.send_signal(signal.SIGTERM)
        for one in started:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


@pytest.mark.integration
def test_a_real_prometheus_sees_the_loop_runs_every_panel_and_an_alert_fires(watched: Watched) -> None:
    (target,) = watched.ask("targets")["activeTargets"]
    assert target["health"] == "up"
    assert watched.value("faceloop_catalogue_up") == [1]
    watched.until(lambda: len(watched.ask("query", query="faceloop_catalogue_up[1m]")["result"][0]["values"]) > 3)
    with closing(Activities(f"sqlite:///{watched.root / 'ledger.sqlite3'}")) as activities:
        activities.record(replace(_activity(datetime.now(UTC)), task="another"), by="test")
    speed = 'faceloop:command_items:rate30m{command="run detect", state="staged"}'
    watched.until(lambda: watched.value(speed) == [pytest.approx(5 / 9)])
    silent = [expression for expression in expressions() if not watched.ask("query", query=expression)["result"]]
    assert [one for one in silent if one not in QUIET] == []
    for rule in rules():
        watched.ask("query", query=rule["expr"])
    assert all(rule["health"] == "ok" for group in watched.ask("rules")["groups"] for rule in group["rules"])

    def firing() -> set[str]:
        return {
            alert["labels"].get("check", "")
            for alert in watched.ask("alerts")["alerts"]
            if alert["state"] == "firing" and alert["labels"]["alertname"] == "FaceloopCheckFailed"
        }

    watched.until(lambda: firing() == FAILING)
    (watched.root / "ledger.sqlite3").rename(watched.root / "elsewhere")
    watched.until(lambda: watched.value("faceloop_catalogue_up") == [0])
    assert watched.value('up{job="faceloop"}') == [1]
    assert watched.value("faceloop_faces") == []


def _fill(work: Workspace) -> None:
    """What a scheduler's commands leave behind."""
    url, now = work.ledger_url(), datetime.now(UTC)
    tables: Tables = {"assignments": (Assignment, labels()), "identities": (Identity, identities())}
    put(work, "assignments", tables, pending=1)
    with closing(Measurements(url)) as log:
        log.record("measure", loop_figures(work, log, now=now), run_id="ingest_footage/run")
        checks = check_all(work, log)
        failed = {check.name for check in checks if check.state == "failed"}
        assert failed == FAILING
        log.record("check", passed_figures(checks), run_id="ingest_footage/run")
    with closing(Activities(url)) as activities:
        for command in ("run detect", "loop plan-footage", "review pull"):
            activities.record(replace(_activity(now), command=command), by="test")
    with closing(ReviewLog(url)) as log_of_questions:
        _ask(log_of_questions, now - timedelta(hours=1))
    with closing(Leases(url)) as leases:
        leases.give_back(leases.take("detect", 60))


def _activity(now: datetime) -> Activity:
    """Five faces in nine seconds."""
    return Activity(
        run_id="ingest_footage/run", task="t", attempt=1, command="run detect", started_at=now - timedelta(seconds=9),
        ended_at=now, outcome="done", exit_code=0, error=None, state="staged", items=5, counts={},
    )  # fmt: skip


def _ask(log: ReviewLog, asked_at: datetime) -> None:
    question = Question(
        question_id="q", kind="same_person", subject="{}", subset="s", reason="bridge", reason_detail="",
        model_version="m", chance=0.7, gain=3.0, seconds=4.0, needs=1, expected=None, rank=1,
    )  # fmt: skip
    project = ReviewProject(
        key="p", instance="i", project_id=1, kind="same_person", round=1, overlap=1, config_sha256="c",
        model_version="m", created_at=asked_at, is_open=True,
    )  # fmt: skip
    task = ReviewTask(question_id="q", round=1, project_key="p", task_id=1, state="planned", changed_at=asked_at)
    log.offer([question], at=asked_at)
    log.add_project(project)
    log.plan([task])
    log.change_tasks([replace(task, state="pushed")])


def _strict(loop: Json) -> Json:
    return {**loop, "checks": {**loop["checks"], "rejected_share": 0.05}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

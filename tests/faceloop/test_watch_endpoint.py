"""The metrics endpoint: what the catalogue says, and that it is away when it is; reports by run id, nothing else."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote
from wsgiref.simple_server import make_server

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from faceloop.watch.collector import LoopCollector
from faceloop.watch.endpoint import _Server, _SilentHandler, web_app
from faceloop.watch.figures import figure
from faceloop.watch.metrics import HELP, LIVE, PREFIX
from faceloop.watch.page import write_report
from faceloop.watch.runs import RunReport
from facestore.activities import Activities, Activity
from facestore.leases import Leases
from facestore.ledger import Ledger, StageRun
from facestore.measurements import Measurements

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
RUN = "ingest_footage/scheduled__2026-05-01T12:00:00+00:00"
ACTIVITY = Activity(
    run_id=RUN, task="t", attempt=1, command="run detect", started_at=NOON, ended_at=NOON + timedelta(seconds=4),
    outcome="done", exit_code=0, error=None, state="staged", items=12, counts={},
)  # fmt: skip
STAGE_RUN = StageRun(
    run_key="k", stage="detect", params={}, inputs={}, outputs={}, timings={}, published_at=NOON, wall_s=2.0,
    counts={"in": 13, "published": 12, "rejected": {"extreme_pose": 1}, "pending": {}},
)  # fmt: skip
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A catalogue with something in every table that metrics are made of, but reviews."""
    url = url_of(tmp_path)
    with closing(Ledger(url)) as ledger:
        ledger.record(STAGE_RUN)
    with closing(Activities(url)) as activities:
        activities.record(ACTIVITY, by="a")
        activities.record(replace(ACTIVITY, task="u", outcome="failed", state=None, items=0), by="a")
    with closing(Leases(url, holder="elsewhere:1:1")) as leases:
        leases.take("detect/b000", 3600)
    with closing(Measurements(url)) as measurements:
        measurements.record("measure", [figure("faces", 7), figure("no_such_figure", 1)], run_id=None)
    return tmp_path


def url_of(root: Path) -> str:
    return f"sqlite:///{root / 'ledger.sqlite3'}"


@contextmanager
def served(root: Path, clock: Clock) -> Iterator[HTTPConnection]:
    collector = LoopCollector(url_of(root), root, fresh_s=3, monotonic=clock, say=lambda _: None)
    app = web_app(root, collector)
    with make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_SilentHandler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        yield connection
        connection.close()
        server.shutdown()
        thread.join()
    collector._close()


def got(connection: HTTPConnection, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), {name.lower(): text for name, text in answer.getheaders()}


def metrics(connection: HTTPConnection) -> Samples:
    status, text, _ = got(connection, "/metrics")
    assert status == 200
    families = list(parsed(text))
    for family in families:
        assert family.documentation
        assert family.name.removeprefix(PREFIX) in {*HELP, *(name.removesuffix("_total") for name in LIVE)}
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_metrics_tell_what_the_catalogue_holds(root: Path) -> None:
    with served(root, Clock()) as connection:
        found = metrics(connection)
    assert found["faceloop_catalogue_up", ()] == 1
    assert found["faceloop_stage_runs_total", (("stage", "detect"),)] == 1
    assert found["faceloop_stage_last_run_items", (("outcome", "in"), ("stage", "detect"))] == 13
    assert found["faceloop_stage_last_run_rejected", (("reason", "extreme_pose"), ("stage", "detect"))] == 1
    assert found["faceloop_commands_total", (("command", "run detect"), ("outcome", "failed"))] == 1
    assert found["faceloop_command_items_total", (("command", "run detect"), ("state", "staged"))] == 12
    assert found["faceloop_command_seconds_total", (("command", "run detect"), ("state", "staged"))] == 4
    success = found["faceloop_command_last_success_timestamp_seconds", (("command", "run detect"),)]
    assert success == ACTIVITY.ended_at.timestamp()
    assert found["faceloop_leases_held", (("work", "detect"),)] == 1
    assert found["faceloop_jobs", (("kind", "train"), ("state", "failed"))] == 0
    assert found["faceloop_faces", ()] == 7
    assert 0 < found["faceloop_disk_free_ratio", ()] <= 1
    assert not any("no_such_figure" in name for name, _ in found)


def test_what_happened_since_is_added_once_the_figures_are_no_longer_fresh(root: Path) -> None:
    clock = Clock()
    name = ("faceloop_command_items_total", (("command", "run detect"), ("state", "staged")))
    with served(root, clock) as connection:
        assert metrics(connection)[name] == 12
        with closing(Activities(url_of(root))) as activities:
            activities.record(replace(ACTIVITY, task="later"), by="a")
        clock.seconds = 2
        assert metrics(connection)[name] == 12
        clock.seconds = 6
        assert metrics(connection)[name] == 24
        clock.seconds = 12
        assert metrics(connection)[name] == 24


def test_a_catalogue_that_is_away_says_so_and_comes_back(root: Path) -> None:
    clock = Clock()
    with served(root, clock) as connection:
        before = metrics(connection)
        (root / "ledger.sqlite3").rename(root / "elsewhere")
        clock.seconds = 5
        assert metrics(connection) == {("faceloop_catalogue_up", ()): 0}
        assert not (root / "ledger.sqlite3").exists()
        (root / "ledger.sqlite3").write_bytes(b"no database " * 400)
        clock.seconds = 10
        assert metrics(connection) == {("faceloop_catalogue_up", ()): 0}
        for rest in root.glob("ledger.sqlite3-*"):
            rest.unlink()
        shutil.copyfile(root / "elsewhere", root / "ledger.sqlite3")
        clock.seconds = 15
        assert metrics(connection).keys() == before.keys()


def test_a_server_that_refuses_connections_is_a_catalogue_that_is_away(tmp_path: Path) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2"
    said: list[str] = []
    collector = LoopCollector(url, tmp_path, fresh_s=0, monotonic=Clock(), say=said.append)
    for _ in range(2):
        collector._found = None
        (metric,) = collector.collect()
        assert [(one.name, one.value) for one in metric.samples] == [("faceloop_catalogue_up", 0)]
    assert len(said) == 1
    assert "nobody" not in said[0]


def test_reports_are_served_by_run_id_and_listed(root: Path) -> None:
    write_report(root, _report(RUN))
    with served(root, Clock()) as connection:
        for path in (
            f"/runs/{quote(RUN, safe='')}/",
            f"/runs/{quote(RUN)}/",
            f"/runs/{quote(RUN, safe='')}/index.html",
        ):
            status, text, headers = got(connection, path)
            assert (status, headers["x-content-type-options"]) == (200, "nosniff")
            assert headers["content-type"] == "text/html; charset=utf-8"
            assert RUN.replace("+", "&#43;") in text or RUN in text
        status, _, headers = got(connection, f"/runs/{quote(RUN, safe='')}")
        assert (status, headers["location"]) == (301, f"/runs/{quote(RUN, safe='')}/")
        assert got(connection, f"/runs/{quote(RUN, safe='')}/report.json")[2]["content-type"] == "application/json"
        listing = got(connection, "/runs/")[1]
        assert f'href="{quote(RUN, safe="")}/"' in listing
        assert got(connection, "/runs/another%2Frun/")[0] == 404
        assert got(connection, "/healthz")[:2] == (200, "ok\n")


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../ledger.sqlite3",
        "/runs/..%2f..%2fledger.sqlite3",
        "/runs/%2e%2e/index.html",
        "/runs/x/../../../etc/passwd",
        "/runs/%00/",
        "/runs/%ff%fe/report.json",
        "/runs//",
        "/ledger.sqlite3",
        "/runs/x/other.txt",
    ],
)
def test_no_address_leads_to_any_other_file(root: Path, path: str) -> None:
    (root / "index.html").write_text("not for the web")
    with served(root, Clock()) as connection:
        status, text, _ = got(connection, path)
        assert status == 404
        assert "not for the web" not in text
        assert got(connection, "/metrics", method="POST")[0] == 405


def _report(run_id: str) -> RunReport:
    return RunReport(
        run_id=run_id, started_at=NOON, seconds=1, busy_s=1, tasks=(), checks=(), changes=(), unchanged=0,
        compared_with=None, airflow_url=None,
    )  # fmt: skip

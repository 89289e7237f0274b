"""`faceloop watch`: one line of JSON each, exit code 2 where a check fails, a page for the run of the environment."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from facestore.errors import DataError, StageError

from .watch_world import watched_root

RUN = "ingest_footage/run 1"
SOUND = ("-S", "loop.checks.largest_identity_share=0.7")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACELOOP_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("FACELOOP_PARAMS", str(Path(__file__).parents[2] / "params.yaml"))
    monkeypatch.setenv("FACELOOP_RUN_ID", RUN)
    return watched_root(tmp_path / "root").root


def last_line(*words: str) -> dict[str, object]:
    done = CliRunner().invoke(app, ["watch", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_figures_are_taken_and_told(root: Path) -> None:
    assert last_line("measure").keys() == {"figures", "at"}
    values = last_line("measure", "--all")["values"]
    assert isinstance(values, dict)
    assert values["faces"] == 6
    assert values["labels{source=auto,state=confirmed}"] == 3


def test_checks_that_pass_are_listed_and_one_that_fails_is_an_error_after_its_line(root: Path) -> None:
    passed = last_line("check", *SOUND)
    assert passed["failed"] == 0
    with pytest.raises(StageError, match=r"largest_identity_share is 0\.6, at most 0\.5 passes"):
        CliRunner().invoke(app, ["watch", "check"], catch_exceptions=False)
    done = CliRunner().invoke(app, ["watch", "check"])
    assert json.loads(done.stdout.splitlines()[-1])["failed"] == 1


def test_a_report_is_of_the_run_of_the_environment(root: Path) -> None:
    from faceloop.commands.recording import recorded

    with pytest.raises(DataError, match="no command of"):
        CliRunner().invoke(app, ["watch", "report"], catch_exceptions=False)
    with recorded(
        ["watch", "measure"], {"FACELOOP_RUN_ID": RUN, "FACELOOP_ROOT": str(root), "FACELOOP_TASK": "measure"}
    ):
        last_line("measure")
    told = last_line("report", "--airflow-url", "http://localhost:8080")
    assert (told["commands"], told["done"], told["failed"]) == (1, 1, 0)
    assert "measure" in (root / str(told["page"])).read_text()

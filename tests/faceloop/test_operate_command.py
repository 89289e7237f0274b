"""`faceloop operate`: what it says of a deployment that is not up, and of the parts of one that is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.commands.operate import app
from faceloop.operate.place import kept_ports, place_of
from faceloop.operate.processes import MARK, Process, find_process
from faceloop.operate.standing import PartState, Standing, write_standing
from facestore.errors import ConfigError, StageError


def asked(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_folder_that_is_not_up_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"is not up; `faceloop operate up --folder"):
        asked("status", "--folder", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no such folder"):
        asked("down", "--folder", str(tmp_path / "never"))
    assert json.loads(asked("down", "--folder", str(tmp_path))) == {"ended": 0, "killed": 0, "left": 0}


def test_a_port_that_something_else_listens_on_stops_up_before_anything_is_started(tmp_path: Path) -> None:
    import socket

    ports = kept_ports(place_of(tmp_path), None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.metrics))
        other.listen()
        with pytest.raises(ConfigError, match=f"port {ports.metrics} "):
            asked("up", "--folder", str(tmp_path))
    assert not (tmp_path / "airflow").exists()


def test_a_folder_without_dag_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder of Dag files"):
        asked("up", "--folder", str(tmp_path), "--dags", str(tmp_path / "none"))


def test_status_shows_each_part_and_down_ends_all(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    programs = [
        subprocess.Popen(sleep, env={**os.environ, MARK: str(place.folder)}, start_new_session=True) for _ in range(2)
    ]
    try:
        supervisor, part = (find_process(one.pid) for one in programs)
        assert supervisor is not None
        gone = Process(pid=programs[1].pid, started=1)
        states = [("scheduler", part, 2), ("triggerer", gone, 0), ("webhook", None, 1)]
        parts = tuple(
            PartState(name=name, process=process, up_since="2025-06-01T10:00:00+00:00", restarts=restarts, address="")
            for name, process, restarts in states
        )
        write_standing(place, Standing(supervisor=supervisor, parts=parts))
        found = json.loads(asked("status", "--folder", str(tmp_path), "--json"))
        assert [(one["name"], one["is_up"], one["restarts"]) for one in found["parts"]] == [
            ("scheduler", True, 2),
            ("triggerer", False, 0),
            ("webhook", False, 1),
        ]
        words = asked("status", "--folder", str(tmp_path)).splitlines()
        assert words[1].split() == ["scheduler", str(programs[1].pid), "2025-06-01", "10:00:00", "2"]
        assert "starts again" in words[3]
        assert json.loads(asked("down", "--folder", str(tmp_path)))["ended"] == 2
        assert [one.wait(5) != 0 for one in programs] == [True, True]
    finally:
        for one in programs:
            one.kill()
            one.wait()

"""Airflow with a folder of its own, and a `faceloop` that only tells what it was called with."""

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

_HOME = TemporaryDirectory(prefix="faceloop-airflow-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name  # before any module here imports Airflow, which writes its settings there
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

PROGRAM = """#!{python} -IS
import json, os, sys, time
say = json.loads(open({answers!r}).read())
told = {{name: value for name, value in os.environ.items() if name.startswith("FACELOOP_")}}
with open({calls!r}, "a") as calls:
    calls.write(json.dumps({{"argv": sys.argv[1:], "env": told, "pid": os.getpid()}}) + "\\n")
answer = say.get(" ".join(sys.argv[1:3])) or say.get("*") or {{}}
if isinstance(answer, list):
    number = len([line for line in open({calls!r}) if " ".join(sys.argv[1:3]) in " ".join(json.loads(line)["argv"])])
    answer = answer[min(number, len(answer)) - 1]
sys.stderr.write(answer.get("stderr", "working\\n"))
sys.stderr.flush()
time.sleep(answer.get("sleep_s", 0))
sys.stdout.write(answer.get("stdout", "{{}}\\n"))
sys.exit(answer.get("code", 0))
"""


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Path]:
    """`answering({"jobs show": {"stdout": …, "code": …}})` puts it on PATH; returns the log of its calls.

    A list of answers is gone through call by call; `*` answers what is not named.
    """

    def build(answers: dict[str, Any]) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        calls, replies = tmp_path / "calls.jsonl", tmp_path / "answers.json"
        calls.touch()
        replies.write_text(json.dumps(answers))
        program = folder / "faceloop"
        program.write_text(PROGRAM.format(python=sys.executable, answers=str(replies), calls=str(calls)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return calls

    return build

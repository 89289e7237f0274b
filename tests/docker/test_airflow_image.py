"""Airflow's own image, as far as it can be made without an engine: its packages by hash, the Dags, the commands."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
AUTH = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
PARSE = """
import json, os, sys
from airflow.dag_processing.dagbag import DagBag
found = {}
for executor in ("local", "docker", "kubernetes"):
    os.environ["FACELOOP_EXECUTOR"] = executor
    bag = DagBag(sys.argv[1])
    task = bag.dags["ingest_footage"].get_task("ingest")
    found[executor] = {"dags": sorted(bag.dags), "errors": bag.import_errors, "operator": type(task).__name__}
heavy = {"numpy", "torch", "faiss", "cv2", "onnxruntime", "insightface", "pyarrow", "faceloop"} & set(sys.modules)
print(json.dumps({"found": found, "heavy": sorted(heavy)}))
"""
ARGUMENTS = """
import json, sys
from airflow.cli.cli_parser import get_parser
parser = get_parser()
for words in json.load(sys.stdin):
    parser.parse_args(words[1:])
print(json.dumps("all known"))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment made as the image makes it: nothing but requirements/airflow.lock."""
    place = tmp_path_factory.mktemp("airflow-image")
    uv = [str(BIN / "uv")]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(place / "venv")], check=True)
    install = [*uv, "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", "requirements/airflow.lock"]
    done = subprocess.run(
        install, cwd=ROOT, env=os.environ | {"VIRTUAL_ENV": str(place / "venv")}, capture_output=True, text=True
    )
    if done.returncode and "hash" not in done.stderr.lower():
        pytest.skip(f"no package index to install from: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr
    shutil.copytree(ROOT / "dags", place / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    return place / "venv" / "bin" / "python"


def _run(python: Path, program: str, *words: str, given: str = "", **more: str) -> Any:
    home = python.parents[2]
    settings = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": AUTH,
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "PYTHONPATH": str(home / "dags"),
    }
    done = subprocess.run(
        [python, "-c", program, *words], env=settings | more, input=given, capture_output=True, text=True, cwd=home
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.integration
def test_all_dags_parse_for_every_executor_where_there_is_no_machine_learning(python: Path) -> None:
    volume = {"FACELOOP_VOLUME": "faceloop-data", "FACELOOP_ROOT": "/data"}
    parsed = _run(python, PARSE, str(python.parents[2] / "dags"), **volume)
    assert parsed["heavy"] == []
    for found in parsed["found"].values():
        assert found["errors"] == {}
        assert set(found["dags"]) == {path.stem for path in (ROOT / "dags").glob("*.py")}
        assert len(found["dags"]) >= 6
    operators = [parsed["found"][executor]["operator"] for executor in ("local", "docker", "kubernetes")]
    assert operators == ["LocalCommand", "DockerCommand", "PodCommand"]


@pytest.mark.integration
def test_airflow_knows_the_commands_that_compose_gives_it(python: Path, compose: dict[str, Any]) -> None:
    given = [one["command"] for one in compose["services"].values() if one.get("command", [""])[0] == "airflow"]
    script = (ROOT / "docker" / "compose" / "airflow-init.sh").read_text(encoding="utf-8")
    for line in script.splitlines():
        words = line.split()
        if words[:1] == ["airflow"]:
            given.append([word.strip('"') for word in words])
    assert len(given) == 5 + 3
    assert _run(python, ARGUMENTS, given=json.dumps(given), AIRFLOW__CORE__EXECUTOR="CeleryExecutor") == "all known"

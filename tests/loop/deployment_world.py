"""A whole deployment for the tests, as `faceloop operate up` makes it: its scheduler, its server, its commands."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx

from faceloop.operate.airflow_api import Airflow
from faceloop.operate.bucket import make_access
from faceloop.operate.deployment import params_text
from faceloop.operate.place import Place, place_of
from faceloop.operate.processes import find_process, marked
from faceloop.operate.standing import PartState, read_standing
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace
from facereview.labelstudio.local import running
from facestore.errors import ServerAway
from facestore.ids import JsonValue

ROOT = Path(__file__).parents[2]
FACELOOP = str(Path(sys.executable).with_name("faceloop"))
BIN = str(Path(sys.executable).parent)
PACE = {  # looks often, waits little; for answers the webhook has to do
    "FACELOOP_INGEST_CRON": "* * * * * */30",
    "FACELOOP_REVIEW_CRON": "0 * * * *",
    "FACELOOP_RELEASE_CRON": "0 3 1 1 *",
    "FACELOOP_RETRY_S": "3",
    "FACELOOP_JOB_PAUSE_S": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}
SETTINGS = {  # a small world: few batches, a release as soon as somebody decided
    "  batches: 8": "  batches: 4",
    "  settle_s: 5.0": "  settle_s: 1.0",
    "  most_tasks: 24": "  most_tasks: 2",
    "    decisions: 50": "    decisions: 1",
    "    purity: 0.95": "    purity: 0.3",
    "    boxes: 0.02": "    boxes: 0.0",
    "    landmarks: 0.02": "    landmarks: 0.0",
    "    attributes: 0.1": "    attributes: 0.0",
    "  batch_size: 16                  # over all ranks": "  batch_size: 8                   # over all ranks",
    "    epochs: 2 ": "    epochs: 1 ",
    "    learning_rate: 0.002          # for fine-tuning": "    learning_rate: 0.00001  # so that nothing is gained",
    "  checkpoint_every: 200": "  checkpoint_every: 1",
    "    replicates: 500": "    replicates: 100",
    "    pictures_per_kind: 24": "    pictures_per_kind: 2",
    "    resamples: 1000": "    resamples: 100",
    "      most: 60  ": "      most: 0   ",
    "  forms: [float32, float16, int8]": "  forms: [float32]",
    "  targets: [onnxruntime, openvino]": "  targets: [onnxruntime]",
}
_READING_S = 30.0  # Airflow 3.3.2 fails a task that is answered while its executor still reports that it asks
PATIENCE_S = 900.0  # of a machine that has other things to do
ENDED = {"success", "failed"}
Row = Mapping[str, JsonValue]
Found = TypeVar("Found")


@dataclass(slots=True, kw_only=True)
class Loop:
    """A running deployment. `times` collects what took how many seconds."""

    place: Place
    airflow: Airflow
    times: dict[str, float] = field(default_factory=dict)

    def work(self) -> Workspace:
        tree = read_params(self.place.params)
        return open_workspace(self.place.root, tree, threads=1, progress=SilentProgress())

    def faceloop(self, *words: str) -> dict[str, JsonValue]:
        """What a command of the platform prints, called beside Airflow."""
        environ = os.environ | {"FACELOOP_ROOT": str(self.place.root), "FACELOOP_PARAMS": str(self.place.params)}
        done = subprocess.run([FACELOOP, *words], env=environ, capture_output=True, text=True, check=True)
        found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
        return found

    def runs(self, dag: str) -> list[Row]:
        """The last runs, newest first."""
        query = {"order_by": "-run_after", "limit": "60"}
        return rows(self.airflow.call("GET", f"/api/v2/dags/{dag}/dagRuns", params=query), "dag_runs")

    def run(self, dag: str, run_id: str) -> Row:
        return self.airflow.call("GET", f"/api/v2/dags/{dag}/dagRuns/{quote(run_id, safe='')}")

    def tasks(self, dag: str, run_id: str) -> list[Row]:
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run_id, safe='')}/taskInstances"
        return rows(self.airflow.call("GET", path, params={"limit": "200"}), "task_instances")

    def task(self, dag: str, run_id: str, task: str) -> Row:
        return next(row for row in self.tasks(dag, run_id) if row["task_id"] == task)

    def start(self, dag: str, **conf: JsonValue) -> str:
        """Start a run by hand; its id."""
        body: JsonValue = {"logical_date": None, "conf": conf}
        return str(self.airflow.call("POST", f"/api/v2/dags/{dag}/dagRuns", body=body)["dag_run_id"])

    def ended(self, dag: str, run_id: str, patience_s: float = PATIENCE_S) -> str:
        """The state that a run ended in."""
        until(lambda: self.run(dag, run_id)["state"] in ENDED, f"{dag} {run_id} to end", patience_s)
        return str(self.run(dag, run_id)["state"])

    def pause(self, dag: str, *, is_paused: bool) -> None:
        self.airflow.call("PATCH", f"/api/v2/dags/{dag}", body={"is_paused": is_paused})

    def approve(self, dag: str, run_id: str, option: str = "Approve") -> None:
        """Somebody reads Airflow's form and clicks. (3.3.2 fails a task that is answered as it begins to wait.)"""
        time.sleep(_READING_S)
        path = f"/api/v2/dags/{dag}/dagRuns/{quote(run_id, safe='')}/taskInstances/approve/-1/hitlDetails"
        self.airflow.call("PATCH", path, body={"chosen_options": [option], "params_input": {}})

    def part(self, name: str) -> PartState:
        standing = read_standing(self.place)
        assert standing is not None
        return next(part for part in standing.parts if part.name == name)

    def supervisor(self) -> int:
        standing = read_standing(self.place)
        assert standing is not None
        return standing.supervisor.pid

    def commands(self, *words: str) -> list[int]:
        """Processes of this deployment that run `faceloop WORDS …` now; a word may be the beginning of one."""
        return [one.pid for one in marked(self.place.folder) if _is_command(one.pid, words)]

    def drop(self, *folders: Path) -> None:
        """People drop footage into the inbox."""
        for folder in folders:
            shutil.copytree(folder, self.place.inbox / folder.name)

    def annotate(self, task_id: int | None, result: Sequence[JsonValue] = ()) -> int:
        """An annotator answers in Label Studio."""
        server = running(self.place.labels)
        assert server is not None
        with httpx.Client(base_url=server.url, timeout=60) as wire:
            token = wire.post("/api/token/refresh/", json={"refresh": server.token}).raise_for_status().json()
            body = {"result": list(result), "lead_time": 3.5}
            headers = {"Authorization": f"Bearer {token['access']}"}
            answer = wire.post(f"/api/tasks/{task_id}/annotations/", json=body, headers=headers).raise_for_status()
        return int(answer.json()["id"])


def bring_up(folder: Path, dags: Path, *, has_bucket: bool = False) -> Loop:
    """`faceloop operate up` on free ports, with the settings of the tests; with `--s3` where it `has_bucket`."""
    place = place_of(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if has_bucket:
        make_access(place)  # before there are params: those of a deployment without a bucket are refused one
    text = params_text((ROOT / "params.yaml").read_text(encoding="utf-8"), place, has_bucket=has_bucket)
    for old, new in SETTINGS.items():
        assert text.count(old) == 1, f"params.yaml has no single {old!r}"
        text = text.replace(old, new)
    place.params.write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "dags", dags, ignore=lambda _, names: [name for name in names if not name.endswith(".py")])
    shutil.copy(Path(__file__).parent / "dags" / "hundred_batches.py", dags)
    command = [FACELOOP, "operate", "up", "--folder", str(folder), "--dags", str(dags), "--json"]
    command += ["--port-base", str(free_block()), *(["--s3"] if has_bucket else [])]
    done = subprocess.run(command, env=os.environ | PACE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["broken_dags"] == []
    keys = json.loads((folder / "keys.json").read_text())
    return Loop(
        place=place,
        airflow=Airflow(said["airflow"], "admin", keys["passwords"]["admin"], timeout_s=90),
        times={"up": said["seconds"]},
    )


def bring_down(folder: Path) -> dict[str, JsonValue]:
    done = subprocess.run(
        [FACELOOP, "operate", "down", "--folder", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def free_block() -> int:
    from socket import socket

    for base in range(20_000 + 10 * (os.getpid() % 2_000), 49_900, 10):
        try:
            for port in range(base, base + 4):
                with socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise RuntimeError("no four free ports")


def rows(body: Row, name: str) -> list[Row]:
    found = body[name]
    assert isinstance(found, list)
    return [row for row in found if isinstance(row, dict)]


def until(is_so: Callable[[], Found | None], what: str, patience_s: float = PATIENCE_S, pause_s: float = 1.0) -> Found:
    """What `is_so` returns when that is true at last. An Airflow that is restarting is waited for."""
    end = time.monotonic() + patience_s
    while True:
        try:
            if found := is_so():
                return found
        except ServerAway:
            pass
        assert time.monotonic() < end, f"waited {patience_s:g} s in vain for {what}"
        time.sleep(pause_s)


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    if find_process(pid) is not None:
        os.kill(pid, number)


def _is_command(pid: int, words: Sequence[str]) -> bool:
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    ours = (place for place, word in enumerate(argv) if word.endswith(b"/faceloop") or b"faceloop.cli" in word)
    begin = next(ours, None)
    if begin is None:
        return False
    said = [word.decode() for word in argv[begin + 1 : begin + 1 + len(words)]]
    return len(said) == len(words) and all(one.startswith(word) for one, word in zip(said, words, strict=True))

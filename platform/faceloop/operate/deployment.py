"""A deployment on one machine: made, started, looked at, ended."""

import fcntl
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import yaml

from faceloop.operate.airflow_api import Airflow, Pool
from faceloop.operate.bucket import OBJECTS_URL, PICTURES_URL
from faceloop.operate.parts import Site, environment, passwords_text
from faceloop.operate.place import Place, write_private
from faceloop.operate.processes import MARK, end_all, lives, marked, tell
from faceloop.operate.standing import Standing, read_standing
from facereview.labelstudio.local import RunningServer, running, start_server, stop_server
from facestore.errors import ConfigError, DataError, LeaseHeld, ServerAway, StageError
from facestore.ids import JsonValue

SUPERVISOR_GRACE_S = 12.0  # for the parts, when all ends; a task in progress is cut short, and tried again
_READY_S = 240.0
_LOOK_S = 0.5
_REST_GRACE_S = 5.0
_DAG_FILES_S = 90.0
Say = Callable[[str], None]


def prepare(site: Site, shipped_params: Path) -> None:
    """Make the folder and what is missing in it. What is there stays: params.yaml is the engineers' from then on."""
    place = site.place
    for folder in (place.inbox, place.root, place.logs):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (place.folder, place.airflow):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    if not place.params.is_file():
        write_private(
            place.params,
            params_text(shipped_params.read_text(encoding="utf-8"), place, has_bucket=site.bucket is not None),
        )
    if not place.passwords.is_file():
        write_private(place.passwords, passwords_text(site.keys))


def params_text(shipped: str, place: Place, *, has_bucket: bool = False) -> str:
    """The shipped params, comments and all, with the root and inbox of this place; where it `has_bucket`, media and
    the pictures of questions lie there. Raises ConfigError."""
    text = shipped
    stores = [("  objects", OBJECTS_URL), ("  pictures", PICTURES_URL)] if has_bucket else []
    for key, value in (("root", str(place.root)), ("  source", str(place.inbox)), *stores):
        text, found = re.subn(rf"(?m)^{key}: *\S+", lambda _, k=key, v=value: f"{k}: {json.dumps(v)}", text, count=1)  # type: ignore[misc]
        if not found:
            raise ConfigError(
                f"the shipped params have no line `{key.strip()}:`; take them as they are in the repository"
            )
    tree: dict[str, JsonValue] = yaml.safe_load(text)
    paths = tree["paths"]
    if tree["root"] != str(place.root) or not isinstance(paths, dict) or paths["source"] != str(place.inbox):
        raise ConfigError("root and paths.source could not be set in the shipped params")
    return text


def install_databases(site: Site, outer: Mapping[str, str], say: Say) -> RunningServer:
    """Airflow's database migrated and Label Studio started, both at once. Raises StageError, ServerError."""
    with ThreadPoolExecutor(max_workers=2) as both:
        labels = both.submit(start_server, site.place.labels, port=site.ports.labels, say=say)
        airflow = both.submit(_migrate, site, outer)
        airflow.result()
        return labels.result()


def _migrate(site: Site, outer: Mapping[str, str]) -> None:
    done = site.place.airflow / "migrated_to"
    wanted = version("apache-airflow")
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    command = [str(Path(sys.executable).with_name("airflow")), "db", "migrate"]
    log = site.place.logs / "migration.log"
    with log.open("ab") as into:
        code = subprocess.run(command, env=environment(site, outer), stdout=into, stderr=into, check=False).returncode
    if code:
        raise StageError(f"`airflow db migrate` ended with {code}; its words are in {log}")
    with closing(sqlite3.connect(site.place.metadata)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # whoever reads does not wait for whoever writes
    site.place.metadata.chmod(0o600)
    write_private(done, wanted)


def start_supervisor(site: Site, command: list[str], outer: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """The supervisor in a session of its own: it outlives whoever asked for it."""
    with (site.place.logs / "supervisor.log").open("ab") as into:
        return subprocess.Popen(
            command,
            env={**outer, MARK: str(site.place.folder)},
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            start_new_session=True,
        )


def wait_until_ready(site: Site, supervisor: "subprocess.Popen[bytes]", say: Say) -> list[str]:
    """Until Airflow's four parts are healthy, pools are there and every Dag file was read. Names of broken Dag files.

    Raises StageError when the supervisor ends, ServerAway after four minutes.
    """
    airflow = Airflow(site.airflow_url, "admin", site.keys.passwords["admin"])
    began, told = time.monotonic(), time.monotonic()
    try:
        while waits_for := airflow.unhealthy():
            now = time.monotonic()
            if supervisor.poll() is not None:
                raise StageError(f"the supervisor ended; its words are in {site.place.logs / 'supervisor.log'}")
            if now - began > _READY_S:
                raise ServerAway(f"no sign of life from {', '.join(waits_for)}; see {site.place.logs}")
            if now - told > 5:
                told = now
                say(f"waiting for {', '.join(waits_for)} ({now - began:.0f} s)")
            time.sleep(_LOOK_S)
        for pool in _pools(site.cores):
            airflow.ensure_pool(pool)
        return _wait_for_dags(airflow, site, say)
    finally:
        airflow.close()


def _pools(cores: int) -> list[Pool]:
    return [
        Pool(
            name="faceloop",
            slots=cores + 1,
            description="Stages and commands: one slot a core, and one more",
        ),
        Pool(name="faceloop_gpu", slots=1, description="Stages on a GPU: one slot a GPU", has_deferred=True),
    ]


def _wait_for_dags(airflow: Airflow, site: Site, say: Say) -> list[str]:
    files = len(list(site.dags.glob("*.py")))
    until = time.monotonic() + _DAG_FILES_S
    while len(airflow.dags()) + len(airflow.import_errors()) < files:
        if time.monotonic() > until:
            say(f"not every Dag file was read in {_DAG_FILES_S:.0f} s; see {site.place.logs / 'dag-processor.log'}")
            break
        time.sleep(_LOOK_S)
    return airflow.import_errors()


def standing_up(place: Place) -> Standing | None:
    """How the parts stand, if a supervisor watches them now."""
    found = read_standing(place)
    return found if found is not None and lives(found.supervisor) else None


def leftovers(place: Place) -> int:
    """Processes of this deployment, watched or not."""
    return len(marked(place.folder)) + (running(place.labels) is not None)


def end(place: Place) -> int:
    """End every process of the deployment: in order, then whatever is left. How many had to be killed."""
    try:
        standing = standing_up(place)
    except DataError:
        standing = None  # who is who is not known any more; they carry our mark all the same
    if standing is not None:
        supervisor = standing.supervisor
        until = time.monotonic() + SUPERVISOR_GRACE_S + 2 * _REST_GRACE_S
        tell(supervisor, signal.SIGTERM)
        while lives(supervisor) and time.monotonic() < until:
            time.sleep(0.1)
    killed = end_all(lambda: marked(place.folder), grace_s=_REST_GRACE_S)
    stop_server(place.labels)
    place.standing.unlink(missing_ok=True)
    return killed


@contextmanager
def one_at_a_time(place: Place) -> Iterator[None]:
    """Nobody else brings this deployment up or down meanwhile. Raises LeaseHeld."""
    place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (place.folder / ".operate.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LeaseHeld(f"another command brings {place.folder} up or down just now; wait for it") from error
        yield

"""The parts of a deployment, and the environment that each of them gets."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.operate.bucket import BucketAccess
from faceloop.operate.place import HOST, USERS, Keys, Place, Ports
from faceloop.operate.processes import MARK
from faceloop.review.access import HOOK_SECRET, HOOK_URL, TOKEN, URL
from facereview.labelstudio.local import RunningServer
from facestore.ids import canonical_json

AIRFLOW_URL, AIRFLOW_USER, AIRFLOW_PASSWORD = (
    "FACELOOP_AIRFLOW_URL",
    "FACELOOP_AIRFLOW_USER",
    "FACELOOP_AIRFLOW_PASSWORD",
)
_METADATA_WAIT_S = 60  # for a database that another process writes to
# The api-server writes from its event loop too: two writes at once block it until one gives up, so it gives up soon
# (and is asked again by tasks). PostgreSQL has no such wait.
_API_METADATA_WAIT_S = 10
_METADATA_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
_BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A program that runs as long as the deployment does."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]  # whole
    address: str = ""  # where people find it


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All that the parts of a deployment are made from."""

    place: Place
    ports: Ports
    keys: Keys
    dags: Path  # folder of Dag files
    cores: int
    has_metrics: bool  # whether the metrics endpoint is part of it
    bucket: BucketAccess | None = None  # where media lie in an S3 server of this deployment

    @property
    def airflow_url(self) -> str:
        return f"http://{HOST}:{self.ports.airflow}"

    @property
    def metrics_url(self) -> str:
        return f"http://{HOST}:{self.ports.metrics}"


def parts_of(site: Site, server: RunningServer, outer: Mapping[str, str]) -> list[Part]:
    """In the order in which they are started. `outer` is the environment of whoever starts them."""
    plain = environment(site, outer)
    storing = dict(site.bucket.variables) if site.bucket is not None else {}
    working = plain | labelling_environment(site, server) | storing
    serving = plain | {_METADATA_URL: _metadata_url(site.place, _API_METADATA_WAIT_S)}
    airflow, faceloop = str(_BIN / "airflow"), str(_BIN / "faceloop")
    hearing = working | {
        AIRFLOW_URL: site.airflow_url,
        AIRFLOW_USER: "robot",
        AIRFLOW_PASSWORD: site.keys.passwords["robot"],
    }
    labels = (sys.executable, "-m", "faceloop.operate.labels", str(site.place.labels), str(site.ports.labels))
    hook = (faceloop, "serve-webhook", "--host", HOST, "--port", str(site.ports.webhook))
    parts = [
        Part(name="label-studio", argv=labels, environment=plain, address=server.url),
        Part(name="api-server", argv=(airflow, "api-server"), environment=serving, address=site.airflow_url),
        Part(name="scheduler", argv=(airflow, "scheduler", "--skip-serve-logs"), environment=working),
        Part(name="dag-processor", argv=(airflow, "dag-processor"), environment=plain),
        Part(name="triggerer", argv=(airflow, "triggerer", "--skip-serve-logs"), environment=working),
        Part(name="webhook", argv=hook, environment=hearing, address=hook_url(site)),
    ]
    if site.bucket is not None:
        serving_objects = (sys.executable, "-m", "faceloop.operate.bucket", str(site.place.folder))
        parts.insert(0, Part(name="s3", argv=serving_objects, environment=plain | storing, address=site.bucket.address))
    if site.has_metrics:
        argv = (faceloop, "serve-metrics", "--port", str(site.ports.metrics))
        parts.append(Part(name="metrics", argv=argv, environment=plain, address=site.metrics_url))
    return parts


def environment(site: Site, outer: Mapping[str, str]) -> dict[str, str]:
    """Of a process of this deployment. What sets the pace may be set from outside, what holds it together may not."""
    place, keys = site.place, site.keys
    paced = {
        "AIRFLOW__CORE__PARALLELISM": str(max(4, site.cores)),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",  # s until a new Dag file is seen
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",  # s until a task without a sign of life is dead
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",  # s; 5 are too few where everything runs on one machine
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "FACELOOP_LOG": "json",
    }
    fixed = {
        MARK: str(place.folder),
        "SPT_NOENV": "1",  # Airflow renames its processes; that must not wipe out the mark above
        "PATH": f"{_BIN}:{outer.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "AIRFLOW_HOME": str(place.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(site.dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",  # who pauses one finds it paused after a restart
        "AIRFLOW__CORE__FERNET_KEY": keys.fernet,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{site.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(place.passwords),
        _METADATA_URL: _metadata_url(place, _METADATA_WAIT_S),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(site.ports.airflow),
        "AIRFLOW__API__BASE_URL": site.airflow_url,
        "AIRFLOW__API__SECRET_KEY": keys.session,
        "AIRFLOW__API_AUTH__JWT_SECRET": keys.jwt,
        "FACELOOP_ROOT": str(place.root),
        "FACELOOP_PARAMS": str(place.params),
        "FACELOOP_REPORTS_URL": site.metrics_url,
    }
    return {**paced, **outer, **fixed}


def labelling_environment(site: Site, server: RunningServer) -> dict[str, str]:
    """How tasks find the labelling server, and how it finds our webhook."""
    return {
        URL: server.url,
        TOKEN: server.token,
        "FACELOOP_LABEL_STUDIO_FILES": server.files,
        HOOK_URL: hook_url(site),
        HOOK_SECRET: site.keys.webhook,
    }


def _metadata_url(place: Place, wait_s: int) -> str:
    return f"sqlite:///{place.metadata}?timeout={wait_s}"


def hook_url(site: Site) -> str:
    return f"http://{HOST}:{site.ports.webhook}/hook"


def passwords_text(keys: Keys) -> str:
    """What Airflow's simple auth manager reads."""
    return canonical_json(dict(keys.passwords)) + "\n"

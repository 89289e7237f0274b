"""Where commands run and how often: read from the environment of Airflow, once per parse."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

EXECUTORS = ("local", "docker", "kubernetes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that a deployment may choose about its Dags."""

    executor: str  # one of EXECUTORS: a process beside Airflow, a container, a pod
    program: str
    root: str | None  # FACELOOP_ROOT of the commands; None: what params.yaml says
    params: str | None
    ingest_cron: str
    review_cron: str
    release_cron: str
    retries: int
    retry_delay: timedelta  # doubles from retry to retry
    job_pause_s: float  # between two looks at a job
    approval_timeout: timedelta
    is_gpu_used: bool
    train_slots: int  # of the GPU pool that a training takes: train.nodes × train.ranks, at most what the pool has
    gpu_queue: str | None  # Celery: the queue of the workers that have a GPU
    reports_url: str | None  # where `faceloop serve-metrics` shows the run reports
    image: str
    gpu_image: str
    volume: str | None  # docker: a volume or folder; kubernetes: a claim; mounted at `mount`
    mount: str
    network: str | None
    namespace: str
    secret: str | None  # kubernetes: its keys become the environment of the pods
    service_account: str | None
    gpu_selector: tuple[tuple[str, str], ...]  # labels of the nodes that have a GPU
    passed_on: tuple[str, ...]  # docker: names of variables that containers get from Airflow's environment


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from variables that start with FACELOOP_. Raises ValueError for an executor that does not exist."""

    def text(name: str, default: str) -> str:
        return environ.get(f"FACELOOP_{name}") or default

    executor = text("EXECUTOR", "local")
    if executor not in EXECUTORS:
        raise ValueError(f"FACELOOP_EXECUTOR is {executor!r}; it must be one of {', '.join(EXECUTORS)}")
    image = text("IMAGE", "faceloop-worker:latest")
    pairs = [pair.partition("=") for pair in text("GPU_SELECTOR", "").split(",") if pair]
    return Settings(
        executor=executor,
        program=text("PROGRAM", "faceloop"),
        root=environ.get("FACELOOP_ROOT") or None,
        params=environ.get("FACELOOP_PARAMS") or None,
        ingest_cron=text("INGEST_CRON", "*/5 * * * *"),
        review_cron=text("REVIEW_CRON", "*/2 * * * *"),
        release_cron=text("RELEASE_CRON", "0 3 * * *"),
        retries=int(text("RETRIES", "5")),
        retry_delay=timedelta(seconds=float(text("RETRY_S", "10"))),
        job_pause_s=float(text("JOB_PAUSE_S", "5")),
        approval_timeout=timedelta(hours=float(text("APPROVAL_HOURS", "168"))),
        is_gpu_used=text("GPU", "no") == "yes",
        train_slots=int(text("TRAIN_SLOTS", "1")),
        gpu_queue=environ.get("FACELOOP_GPU_QUEUE") or None,
        reports_url=environ.get("FACELOOP_REPORTS_URL") or None,
        image=image,
        gpu_image=text("GPU_IMAGE", image),
        volume=environ.get("FACELOOP_VOLUME") or None,
        mount=text("MOUNT", "/faceloop"),
        network=environ.get("FACELOOP_NETWORK") or None,
        namespace=text("NAMESPACE", "faceloop"),
        secret=environ.get("FACELOOP_SECRET") or None,
        service_account=environ.get("FACELOOP_SERVICE_ACCOUNT") or None,
        gpu_selector=tuple((key, value) for key, _, value in pairs),
        passed_on=tuple(name for name in text("PASSED_ON", "").split(",") if name),
    )


def settings() -> Settings:
    """The settings of this Airflow."""
    return read_settings(os.environ)

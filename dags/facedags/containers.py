"""The same command in a container of Docker."""

import os
from collections.abc import Sequence
from typing import Any

from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk import Context
from docker.types import DeviceRequest, Mount  # type: ignore[import-not-found]

from facedags.commanded import Commanded, run_environment
from facedags.jobs import Job
from facedags.results import Result, parsed
from facedags.settings import settings
from facedags.wrapper import MARK, SHELL


class DockerCommand(Commanded, DockerOperator):
    """Runs `faceloop ARGV` in a container of FACELOOP_IMAGE."""

    template_fields: Sequence[str] = ("argv", "environment", "only_if")
    template_ext: Sequence[str] = ()  # a typed argument that ends in .sh is no file of ours

    def __init__(
        self, *, argv: Sequence[str | Sequence[str]], skip_on: Sequence[int] = (), is_gpu: bool = False, **kwargs: Any
    ) -> None:
        chosen = settings()
        kind = "bind" if (chosen.volume or "").startswith("/") else "volume"
        super().__init__(
            argv=argv,
            image=chosen.gpu_image if is_gpu else chosen.image,
            entrypoint=list(SHELL),
            environment=run_environment(),
            private_environment=None,
            mounts=[Mount(chosen.mount, chosen.volume, type=kind)] if chosen.volume else [],
            mount_tmp_dir=False,
            network_mode=chosen.network,
            device_requests=[DeviceRequest(count=1, capabilities=[["gpu"]])] if is_gpu else None,
            skip_on_exit_code=list(skip_on),
            auto_remove="force",
            xcom_all=True,
            **kwargs,
        )

    def said(self, context: Context) -> Result:
        self.command = self.words
        self._private_environment = _passed_on()
        lines = DockerOperator.execute(self, context) or []
        marked = [line for line in lines if line.startswith(MARK)]
        return parsed(marked[-1].removeprefix(MARK) if marked else "", self.leave_out)


def _passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in settings().passed_on if name in os.environ}


class DockerJob(Job, DockerCommand):
    """Submitted by a container."""

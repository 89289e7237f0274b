"""The same command by a container or a pod: one setting, the same words, the same exit codes."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from facedags.commands import command, job
from facedags.jobs import LocalJob
from facedags.local import LocalCommand
from facedags.results import ResultRefused
from facedags.settings import read_settings
from facedags.wrapper import MARK, WRAPPER

Answering = Callable[[dict[str, Any]], Path]
PRODUCTION = {
    "FACELOOP_ROOT": "/faceloop/root",
    "FACELOOP_PARAMS": "/faceloop/params.yaml",
    "FACELOOP_IMAGE": "registry.example/faceloop-worker:1",
    "FACELOOP_GPU_IMAGE": "registry.example/faceloop-worker:1-gpu",
    "FACELOOP_GPU": "yes",
    "FACELOOP_GPU_SELECTOR": "node-pool=gpu",
    "FACELOOP_VOLUME": "faceloop-root",
    "FACELOOP_SECRET": "faceloop-catalogue",
    "FACELOOP_SERVICE_ACCOUNT": "faceloop",
}


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def choose(executor: str) -> None:
        for name, value in (PRODUCTION | {"FACELOOP_EXECUTOR": executor}).items():
            monkeypatch.setenv(name, value)

    return choose


def test_here_is_the_default() -> None:
    assert type(command("ingest", ["run", "ingest"])) is LocalCommand
    assert type(job("train", ["jobs", "submit", "train"])) is LocalJob


def test_an_executor_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ValueError, match=r"swarm.*local, docker, kubernetes"):
        read_settings({"FACELOOP_EXECUTOR": "swarm"})


@pytest.mark.parametrize("executor", ["docker", "kubernetes"])
def test_production_runs_the_same_words_in_the_image_and_skips_by_the_same_codes(
    production: Callable[[str], None], executor: str
) -> None:
    production(executor)
    made: Any = command("pull", ["review", "pull", "{{ '--full' }}"], is_patient=True)
    assert made.argv == ["review", "pull", "{{ '--full' }}"]
    assert "argv" in made.template_fields
    assert made.template_ext == ()
    assert sorted(made.skip_on_exit_code) == [75, 99]
    assert made.image == PRODUCTION["FACELOOP_IMAGE"]
    assert made.pool == "faceloop"


@pytest.mark.parametrize("executor", ["docker", "kubernetes"])
def test_gpu_stages_get_the_gpu_image_and_their_own_pool(production: Callable[[str], None], executor: str) -> None:
    production(executor)
    made: Any = command("detect", ["run", "detect"])
    assert made.image == PRODUCTION["FACELOOP_GPU_IMAGE"]
    assert made.pool == "faceloop_gpu"


def test_a_container_gets_the_words_as_they_are_and_says_its_result(
    production: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    production("docker")
    from airflow.providers.docker.operators.docker import DockerOperator

    made: Any = command("find", ["restrict", "find", "--", "; rm -rf / $(id)"])
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("FACELOOP_PASSED_ON", "PGPASSWORD,NOT_SET")
    lines = ["progress", f'{MARK}{{"faces": 3}}', "a late line of stderr"]
    monkeypatch.setattr(DockerOperator, "execute", lambda self, context: lines)
    assert made.execute({"outlet_events": {}}) == {"faces": 3}
    assert made.command == ["restrict", "find", "--", "; rm -rf / $(id)"]
    assert made.entrypoint[:2] == ["/bin/sh", "-c"]
    assert made._private_environment == {"PGPASSWORD": "secret"}
    assert "PGPASSWORD" not in made.environment
    assert [(mount["Target"], mount["Source"]) for mount in made.mounts] == [("/faceloop", "faceloop-root")]
    assert made.environment["FACELOOP_ROOT"] == "/faceloop/root"
    assert set(made.environment) >= {"FACELOOP_RUN_ID", "FACELOOP_TASK", "FACELOOP_TRY", "FACELOOP_PARAMS"}


def test_a_pod_holds_by_the_schemas_of_kubernetes(
    production: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    production("kubernetes")
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    monkeypatch.setattr(KubernetesHook, "is_in_cluster", True)  # else it looks for a cluster to ask
    made: Any = command("embed", ["run", "embed"])
    made.arguments = made.words
    pod = _pod(made)
    kubernetes_validate.validate(pod, "1.30", strict=True)
    (container, *_) = pod["spec"]["containers"]
    assert container["args"] == ["run", "embed"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert pod["spec"]["nodeSelector"] == {"node-pool": "gpu"}
    assert pod["spec"]["serviceAccountName"] == "faceloop"
    assert container["envFrom"] == [{"secretRef": {"name": "faceloop-catalogue"}}]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    claims = [one["persistentVolumeClaim"]["claimName"] for one in pod["spec"]["volumes"] if one["name"] == "faceloop"]
    assert claims == ["faceloop-root"]
    assert made.deferrable
    assert not made.log_pod_spec_on_failure


def test_kubernetes_fills_nothing_into_what_people_typed(
    production: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    production("kubernetes")
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    made: Any = command("find", ["restrict", "find", "--", "$(FACELOOP_PARAMS) $5"])
    monkeypatch.setattr(KubernetesPodOperator, "execute", lambda self, context: {"faces": 1})
    assert made.execute({"outlet_events": {}}) == {"faces": 1}
    assert made.arguments == ["restrict", "find", "--", "$$(FACELOOP_PARAMS) $$5"]


def test_the_result_of_a_pod_is_held_to_the_same_size(
    production: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    production("kubernetes")
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    made: Any = command("plan", ["loop", "plan-footage"])
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", lambda self, context, event: {"a": "x" * 60_000})
    with pytest.raises(ResultRefused):
        made.trigger_reentry({"outlet_events": {}}, {})


def test_a_pod_that_finds_nothing_to_do_is_a_skipped_task(
    production: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    production("kubernetes")
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    def skip(*_: Any) -> None:
        raise AirflowSkipException("exit code 99")

    made: Any = command("plan", ["loop", "plan-footage"])
    monkeypatch.setattr(KubernetesPodOperator, "trigger_reentry", skip)
    with pytest.raises(AirflowSkipException):
        made.trigger_reentry({"outlet_events": {}}, {})


@pytest.mark.parametrize("code", [0, 2, 75, 99])
def test_what_starts_a_command_in_an_image_keeps_words_result_and_exit_code(answering: Answering, code: int) -> None:
    calls = answering({"*": {"stdout": 'noise\n{"a": 1}\n', "code": code}})
    words = ["mine", '--request={"name": "$(id)`id`\'"}', "a b", "*"]
    done = subprocess.run(["/bin/sh", "-c", WRAPPER, "faceloop", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == f'{MARK}{{"a": 1}}'
    assert json.loads(calls.read_text())["argv"] == words


def test_what_starts_a_command_in_an_image_hands_signals_on(answering: Answering) -> None:
    calls = answering({"*": {"sleep_s": 60}})
    shell = subprocess.Popen(["/bin/sh", "-c", WRAPPER, "faceloop", "run", "detect"], stdout=subprocess.DEVNULL)
    while not calls.read_text():
        assert shell.poll() is None
    shell.terminate()
    assert shell.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(calls.read_text())["pid"], 0)


def _pod(made: Any) -> Any:
    from kubernetes.client import ApiClient  # type: ignore[import-untyped]

    return ApiClient().sanitize_for_serialization(made.build_pod_request_obj())


def test_every_variable_that_a_deployment_may_set_is_explained() -> None:
    root = Path(__file__).parents[2]
    read = set(re.findall(r'(?:text\("|get\("FACELOOP_)([A-Z_]+)"', (root / "dags/facedags/settings.py").read_text()))
    page = (root / "docs/dags.md").read_text()
    assert len(read) > 15
    assert {name for name in read if f"`FACELOOP_{name}" not in page} == set()

"""The Kubernetes launcher: a manifest that a cluster takes, created once, against a made-up API server."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.jobs.kubernetes_launcher import KubernetesLauncher
from faceloop.jobs.kubernetes_manifest import ClusterSettings, Extent, job_manifest, job_name, service_manifest
from faceloop.jobs.kubernetes_settings import cluster_settings, extent_of
from faceloop.jobs.launchers import WorkerCall
from faceloop.params import read_params
from facestore.errors import ConfigError, StoreError
from facestore.jobs import Job

VALIDATE = import_module("kubernetes_validate")  # without types
SETTINGS = ClusterSettings(
    namespace="faces", image="registry.example/faceloop:1", gpus=1, claim="root", env_from="catalogue"
)
JOB = Job(
    job_id="0123456789abcdef" * 2, kind="train", inputs_digest="d", params={}, revision=None, parameter_set="default",
    state="submitted", attempt=2, launcher="kubernetes", handle=None, log=None, is_cancel_asked=False,
    created_at=datetime(2026, 1, 1, tzinfo=UTC), launched_at=None, started_at=None, ended_at=None, result=None,
    message=None,
)  # fmt: skip
CALL = WorkerCall(root=Path("/faces/root"), params=Path("/faces/root/jobs/j/params.json"), job=JOB)
NAME = job_name(JOB.job_id, 2)


def _call(folder: Path, *overrides: str) -> WorkerCall:
    """With its params written, as `submit` writes them."""
    params = folder / "params.json"
    params.write_text(json.dumps(read_params(Path(__file__).parents[2] / "params.yaml", overrides)), encoding="utf-8")
    return WorkerCall(root=folder, params=params, job=JOB)


class _Cluster(BaseHTTPRequestHandler):
    """Jobs and Services by name; `conditions` and `pods` say how they stand."""

    jobs: dict[str, dict[str, Any]]
    services: dict[str, dict[str, Any]]
    conditions: list[dict[str, str]]
    pods: list[dict[str, Any]]
    refusal: int | None
    refused: str  # what `refusal` is for

    def _answer(self, status: int, body: dict[str, object]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _kept(self) -> dict[str, dict[str, Any]]:
        return self.services if "/services" in self.path else self.jobs

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, kept = body["metadata"]["name"], self._kept()
        if self.refusal is not None and f"/{self.refused}" in self.path:
            self._answer(self.refusal, {"kind": "Status", "reason": "Forbidden"})
        elif name in kept:
            self._answer(409, {"kind": "Status", "reason": "AlreadyExists"})
        else:
            body["metadata"]["uid"] = f"uid-of-{name}"
            kept[name] = body
            self._answer(201, body)

    def do_GET(self) -> None:
        if self.path.partition("?")[0].endswith("/log"):
            self._answer(200, {"log of": self.path.split("/")[-2]})
        elif "/pods" in self.path:
            self._answer(200, {"kind": "PodList", "items": self.pods})
        else:
            found = self.jobs.get(self.path.rsplit("/", 1)[1])
            status = {"status": {"conditions": self.conditions}}
            self._answer(200, found | status) if found is not None else self._answer(404, {"kind": "Status"})

    def do_DELETE(self) -> None:
        found = self._kept().pop(self.path.partition("?")[0].rsplit("/", 1)[1], None)
        self._answer(200 if found is not None else 404, {"kind": "Status"})

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Cluster]]:
    kind = type(
        "Cluster", (_Cluster,),
        {"jobs": {}, "services": {}, "conditions": [], "pods": [], "refusal": None, "refused": "jobs"},
    )  # fmt: skip
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    yield kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_manifest_is_one_that_a_cluster_takes() -> None:
    manifest: Any = job_manifest(CALL, SETTINGS)
    VALIDATE.validate(manifest, VALIDATE.latest_version(), strict=True)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["faceloop"]
    assert container["args"][:5] == ["jobs", "work", JOB.job_id, "--attempt", "2"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert {"name": "root", "mountPath": "/faces/root"} in container["volumeMounts"]
    assert container["envFrom"] == [{"secretRef": {"name": "catalogue"}}]


@pytest.mark.parametrize(("gpus", "claim", "secret"), [(0, None, None), (0, "root", None), (8, None, "s")])
def test_every_combination_of_settings_is_a_valid_job(gpus: int, claim: str | None, secret: str | None) -> None:
    settings = ClusterSettings(namespace="n", image="i", gpus=gpus, claim=claim, env_from=secret)
    manifest = job_manifest(CALL, settings)
    VALIDATE.validate(manifest, VALIDATE.latest_version(), strict=True)
    assert ("resources" in json.dumps(manifest)) == (gpus > 0)
    assert ("persistentVolumeClaim" in json.dumps(manifest)) == (claim is not None)


@given(attempt=st.integers(1, 10**9))
def test_a_name_fits_the_label_that_its_pods_carry(attempt: int) -> None:
    assert len(job_name(JOB.job_id, attempt)) <= 63


def test_what_the_launcher_lacks_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    bare = KubernetesLauncher(ClusterSettings(namespace="n", image="", gpus=0, claim=None, env_from=None))
    with pytest.raises(ConfigError, match=r"FACELOOP_KUBERNETES_IMAGE.*KUBECONFIG"):
        bare.check()
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(ConfigError, match="pip install kubernetes"):
        bare.check()


def test_starting_a_worker_twice_makes_one_job(cluster: type[_Cluster], tmp_path: Path) -> None:
    launcher, call = KubernetesLauncher(SETTINGS), _call(tmp_path)
    launcher.check()
    first, second = launcher.start(call), launcher.start(call)
    assert first == second
    assert list(cluster.jobs) == [NAME]
    assert cluster.services == {}
    assert not launcher.has_ended(first.handle)
    cluster.conditions.append({"type": "Failed", "status": "True"})
    assert launcher.has_ended(first.handle)
    launcher.stop(first.handle)
    launcher.stop(first.handle)
    assert cluster.jobs == {}
    assert launcher.has_ended(first.handle)


def test_a_cluster_that_refuses_says_why(cluster: type[_Cluster], tmp_path: Path) -> None:
    cluster.refusal = 403
    with pytest.raises(StoreError, match="403"):
        KubernetesLauncher(SETTINGS).start(_call(tmp_path))


FULL = ClusterSettings(
    namespace="n", image="i", gpus=1, claim="root", env_from="s", priority="training", queue="gpus", deadline_s=86_400
)


@pytest.mark.parametrize("settings", [SETTINGS, FULL])
def test_a_training_on_three_machines_is_an_indexed_job_whose_pods_find_one_another(settings: ClusterSettings) -> None:
    manifest: Any = job_manifest(CALL, settings, Extent(nodes=3, gpus=8))
    service: Any = service_manifest(NAME, settings.namespace, "uid")
    for body in (manifest, service):
        VALIDATE.validate(body, VALIDATE.latest_version(), strict=True)
    spec, pod = manifest["spec"], manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (
        "Indexed",
        3,
        3,
        0,
    )
    assert container["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": manifest["metadata"]["name"]}
    assert {"name": "FACELOOP_TRAIN_ADDRESS", "value": f"{NAME}-0.{NAME}"} in container["env"]
    assert ("suspend" in spec, spec.get("activeDeadlineSeconds")) == (settings is FULL, settings.deadline_s)
    assert pod.get("priorityClassName") == settings.priority
    assert manifest["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == settings.queue


@pytest.mark.parametrize(
    ("index", "words"), [("0", ["jobs", "work", JOB.job_id]), ("2", ["train-node", "--node", "2"])]
)
def test_index_0_works_on_the_job_and_the_others_lend_their_ranks(index: str, words: list[str], tmp_path: Path) -> None:
    """The pod's command, run by a real shell with a `faceloop` that prints its arguments."""
    call = WorkerCall(root=Path("/a root"), params=Path("/a root/params.json"), job=JOB)
    (container,) = cast("Any", job_manifest(call, SETTINGS, Extent(nodes=3, gpus=0)))["spec"]["template"]["spec"][
        "containers"
    ]
    (tmp_path / "faceloop").write_text('#!/bin/sh\nfor word; do echo "$word"; done\n', encoding="utf-8")
    (tmp_path / "faceloop").chmod(0o755)
    said = subprocess.run(
        [*container["command"], *container["args"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": index},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert said[: len(words)] == words
    assert said[said.index("--root") + 1] == "/a root"
    assert said[said.index("--params") + 1] == "/a root/params.json"


def test_how_much_a_training_takes_is_what_its_params_say(tmp_path: Path) -> None:
    call = _call(tmp_path, "train.nodes=4", "train.ranks=2")
    assert extent_of(call, SETTINGS) == Extent(nodes=4, gpus=2)
    without = ClusterSettings(namespace="n", image="i", gpus=0, claim=None, env_from=None)
    assert extent_of(call, without) == Extent(nodes=4, gpus=0)
    on_cpus = _call(tmp_path, "train.nodes=4", "train.ranks=2", "train.device=cpu")
    assert extent_of(on_cpus, SETTINGS) == Extent(nodes=4, gpus=0)


def test_settings_of_a_cluster_come_from_the_environment_and_wrong_ones_are_named() -> None:
    given = {"IMAGE": "i", "GPUS": "8", "QUEUE": "gpus", "PRIORITY": "training", "DEADLINE_S": "60"}
    settings = cluster_settings({f"FACELOOP_KUBERNETES_{name}": value for name, value in given.items()})
    assert (settings.gpus, settings.queue, settings.priority, settings.deadline_s) == (8, "gpus", "training", 60)
    assert (settings.namespace, settings.claim) == ("default", None)
    with pytest.raises(ConfigError, match=r"FACELOOP_KUBERNETES_GPUS.*'two'"):
        cluster_settings({"FACELOOP_KUBERNETES_GPUS": "two"})


def test_machines_of_a_training_start_once_and_go_together(cluster: type[_Cluster], tmp_path: Path) -> None:
    """Submitted twice, and once more after the Service was lost between the two calls."""
    launcher, call = KubernetesLauncher(SETTINGS), _call(tmp_path, "train.nodes=2")
    first = launcher.start(call)
    assert cluster.jobs[NAME]["spec"]["completions"] == 2
    (owner,) = cluster.services[NAME]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", f"uid-of-{NAME}")
    cluster.services.clear()
    assert launcher.start(call) == first
    assert (list(cluster.jobs), list(cluster.services)) == ([NAME], [NAME])
    assert not launcher.has_ended(first.handle)
    launcher.stop(first.handle)
    launcher.stop(first.handle)
    assert (cluster.jobs, cluster.services) == ({}, {})


def test_without_a_service_no_pod_is_left_waiting(cluster: type[_Cluster], tmp_path: Path) -> None:
    cluster.refusal, cluster.refused = 403, "services"
    with pytest.raises(StoreError, match="403"):
        KubernetesLauncher(SETTINGS).start(_call(tmp_path, "train.nodes=2"))
    assert (cluster.jobs, cluster.services) == ({}, {})


def _pod(index: int, *, code: int | None, at: str = "", said: str = "", reason: str = "Error") -> dict[str, Any]:
    end = {"exitCode": code, "reason": reason, "finishedAt": at, "message": said}
    status = {
        "name": "worker", "ready": False, "restartCount": 0, "image": "i", "imageID": "i",
        "state": {"running": {}} if code is None else {"terminated": end},
    }  # fmt: skip
    annotations = {"batch.kubernetes.io/job-completion-index": str(index)}
    return {
        "metadata": {"name": f"{NAME}-{index}-xyz", "annotations": annotations},
        "status": {"containerStatuses": [status]},
    }


def test_the_pod_that_failed_first_says_why_the_training_did(cluster: type[_Cluster], tmp_path: Path) -> None:
    launcher = KubernetesLauncher(SETTINGS)
    handle = launcher.start(_call(tmp_path, "train.nodes=2")).handle
    assert launcher.why_ended(handle) is None
    cluster.pods += [
        _pod(0, code=2, at="2026-01-01T00:00:09Z", said="train: node 2 of 3 is gone"),
        _pod(1, code=None),
        _pod(2, code=137, at="2026-01-01T00:00:01Z", said="step 7\nout of memory\n", reason="OOMKilled"),
    ]
    assert launcher.why_ended(handle) == "node 2: OOMKilled, exit code 137: out of memory"
    assert f"{NAME}-2-xyz" in launcher.log(handle, node=2)
    assert launcher.log(handle, node=7) == ""
    cluster.pods.clear()
    cluster.conditions.append({"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"})
    assert launcher.why_ended(handle) == "DeadlineExceeded: too long"

"""The Kubernetes launcher: a manifest that a cluster takes, created once, against a made-up API server."""

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.jobs.kubernetes_launcher import KubernetesLauncher
from faceloop.jobs.kubernetes_manifest import ClusterSettings, job_manifest, job_name
from faceloop.jobs.launchers import WorkerCall
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


class _Cluster(BaseHTTPRequestHandler):
    """Jobs by name; `state` of the server says how they stand."""

    jobs: dict[str, dict[str, object]]
    conditions: list[dict[str, str]]
    refusal: int | None

    def _answer(self, status: int, body: dict[str, object]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["metadata"]["name"]
        if self.refusal is not None:
            self._answer(self.refusal, {"kind": "Status", "reason": "Forbidden"})
        elif name in self.jobs:
            self._answer(409, {"kind": "Status", "reason": "AlreadyExists"})
        else:
            self.jobs[name] = body
            self._answer(201, body)

    def do_GET(self) -> None:
        found = self.jobs.get(self.path.rsplit("/", 1)[1])
        status = {"status": {"conditions": self.conditions}}
        self._answer(200, found | status) if found is not None else self._answer(404, {"kind": "Status"})

    def do_DELETE(self) -> None:
        found = self.jobs.pop(self.path.partition("?")[0].rsplit("/", 1)[1], None)
        self._answer(200 if found is not None else 404, {"kind": "Status"})

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Cluster]]:
    kind = type("Cluster", (_Cluster,), {"jobs": {}, "conditions": [], "refusal": None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
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
    assert container["volumeMounts"] == [{"name": "root", "mountPath": "/faces/root"}]
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


def test_starting_a_worker_twice_makes_one_job(cluster: type[_Cluster]) -> None:
    launcher = KubernetesLauncher(SETTINGS)
    launcher.check()
    first, second = launcher.start(CALL), launcher.start(CALL)
    assert first == second
    assert list(cluster.jobs) == [job_name(JOB.job_id, 2)]
    assert not launcher.has_ended(first.handle)
    cluster.conditions.append({"type": "Failed", "status": "True"})
    assert launcher.has_ended(first.handle)
    launcher.stop(first.handle)
    launcher.stop(first.handle)
    assert cluster.jobs == {}
    assert launcher.has_ended(first.handle)


def test_a_cluster_that_refuses_says_why(cluster: type[_Cluster]) -> None:
    cluster.refusal = 403
    with pytest.raises(StoreError, match="403"):
        KubernetesLauncher(SETTINGS).start(CALL)

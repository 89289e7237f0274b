"""The Kubernetes launcher. Its client is loaded when a job is submitted to a cluster, never before."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from faceloop.jobs.kubernetes_manifest import ClusterSettings, job_manifest, job_name, service_manifest
from faceloop.jobs.kubernetes_settings import extent_of
from faceloop.jobs.launchers import Launch, LauncherName, WorkerCall
from facestore.errors import ConfigError, StoreError

_HANDLE = "kubernetes"
_TIMEOUT_S = 30
_GONE, _THERE = 404, 409
_INDEX = "batch.kubernetes.io/job-completion-index"
_LONGEST_LINE = 400


@dataclass(frozen=True, slots=True)
class KubernetesLauncher:
    """Workers as Jobs of a cluster, which its kubeconfig or the pod we run in leads to.

    A handle is `kubernetes:NAMESPACE:NAME`, with `:NODES` where a training runs on several.
    """

    settings: ClusterSettings

    @property
    def name(self) -> LauncherName:
        return "kubernetes"

    def check(self) -> None:
        missing = [] if self.settings.image else ["an image (FACELOOP_KUBERNETES_IMAGE)"]
        try:
            import_module("kubernetes.client")
        except ImportError:
            missing.append("the client (pip install kubernetes)")
        else:
            missing += [] if _is_configured() else ["a cluster (KUBECONFIG, or a pod's service account)"]
        if missing:
            raise ConfigError(f"the kubernetes launcher lacks {', and '.join(missing)}")

    def start(self, call: WorkerCall) -> Launch:
        name, namespace = job_name(call.job.job_id, call.job.attempt), self.settings.namespace
        extent = extent_of(call, self.settings)
        body = job_manifest(call, self.settings, extent)
        handle = f"{_HANDLE}:{namespace}:{name}"
        made = _asked(lambda api: api.batch.create_namespaced_job(namespace, body, _request_timeout=_TIMEOUT_S), _THERE)
        if extent.nodes > 1:
            handle += f":{extent.nodes}"
            try:
                self._meet(name, made or _job(namespace, name))
            except StoreError:
                self.stop(handle)  # its pods would wait for a name that nobody has
                raise
        return Launch(handle=handle, log=None)

    def _meet(self, name: str, job: Any) -> None:
        if job is None:
            raise StoreError(f"the Job {name} was deleted while it started; submit again")
        namespace = self.settings.namespace
        body = service_manifest(name, namespace, job.metadata.uid)
        _asked(lambda api: api.core.create_namespaced_service(namespace, body, _request_timeout=_TIMEOUT_S), _THERE)

    def has_ended(self, handle: str) -> bool:
        _, namespace, name, *_ = handle.split(":")
        found = _job(namespace, name)
        return found is None or _condition(found, "Complete", "Failed") is not None

    def stop(self, handle: str) -> None:
        _, namespace, name, *nodes = handle.split(":")
        how: dict[str, Any] = {"propagation_policy": "Background", "_request_timeout": _TIMEOUT_S}
        _asked(lambda api: api.batch.delete_namespaced_job(name, namespace, **how), _GONE)
        if nodes:
            _asked(lambda api: api.core.delete_namespaced_service(name, namespace, **how), _GONE)

    def why_ended(self, handle: str) -> str | None:
        """Which pod failed first, how, and the last line of its log; None while none has, or once all are gone."""
        _, namespace, name, *_ = handle.split(":")
        ends = [(end.finished_at, _node(pod), end) for pod in _pods(namespace, name) if (end := _failure(pod))]
        if ends:
            _, node, end = min(ends, key=lambda found: found[:2])
            lines = (end.message or "").strip().splitlines() or ["it said nothing"]
            return f"node {node}: {end.reason}, exit code {end.exit_code}: {lines[-1][:_LONGEST_LINE]}"
        job = _job(namespace, name)
        failed = _condition(job, "Failed") if job is not None else None
        return f"{failed.reason}: {failed.message}"[:_LONGEST_LINE] if failed is not None else None

    def log(self, handle: str, *, node: int = 0) -> str:
        """What the pod of this node has said so far, by its container's log; empty where there is no such pod."""
        _, namespace, name, *_ = handle.split(":")
        pods = [pod.metadata.name for pod in _pods(namespace, name) if _node(pod) == node]
        if not pods:
            return ""
        read = _asked(
            lambda api: api.core.read_namespaced_pod_log(
                pods[0], namespace, container="worker", _request_timeout=_TIMEOUT_S
            ),
            _GONE,
        )
        return str(read or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Api:
    batch: Any
    core: Any


def _job(namespace: str, name: str) -> Any:
    return _asked(lambda api: api.batch.read_namespaced_job(name, namespace, _request_timeout=_TIMEOUT_S), _GONE)


def _pods(namespace: str, name: str) -> list[Any]:
    found = _asked(
        lambda api: api.core.list_namespaced_pod(
            namespace, label_selector=f"job-name={name}", _request_timeout=_TIMEOUT_S
        ),
        _GONE,
    )
    return list(found.items) if found is not None else []


def _condition(job: Any, *kinds: str) -> Any:
    holding = [told for told in job.status.conditions or [] if told.type in kinds and told.status == "True"]
    return holding[0] if holding else None


def _failure(pod: Any) -> Any:
    for container in pod.status.container_statuses or []:
        end = container.state.terminated
        if end is not None and end.exit_code != 0:
            return end
    return None


def _node(pod: Any) -> int:
    return int((pod.metadata.annotations or {}).get(_INDEX, 0))


def _is_configured() -> bool:
    config = import_module("kubernetes.config")
    for load in (config.load_incluster_config, config.load_kube_config):
        try:
            load()
        except config.ConfigException:
            continue
        return True
    return False


def _asked(ask: Callable[[_Api], Any], fine: int) -> Any:
    """What the cluster answers; None for the status that says it is so already."""
    if not _is_configured():
        raise ConfigError("the kubernetes launcher lacks a cluster (KUBECONFIG, or a pod's service account)")
    client = import_module("kubernetes.client")
    refused = import_module("kubernetes.client.exceptions").ApiException
    away = import_module("urllib3.exceptions").HTTPError
    try:
        with client.ApiClient() as api_client:
            return ask(_Api(batch=client.BatchV1Api(api_client), core=client.CoreV1Api(api_client)))
    except refused as error:
        if error.status == fine:
            return None
        raise StoreError(f"the cluster refused ({error.status} {error.reason}); see its events and our role") from error
    except away as error:
        raise StoreError(f"the cluster does not answer ({type(error).__name__}); try again later") from error

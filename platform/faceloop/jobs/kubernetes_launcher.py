"""The Kubernetes launcher. Its client is loaded when a job is submitted to a cluster, never before."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from faceloop.jobs.kubernetes_manifest import ClusterSettings, job_manifest, job_name
from faceloop.jobs.launchers import Launch, LauncherName, WorkerCall
from facestore.errors import ConfigError, StoreError

_HANDLE = "kubernetes"
_TIMEOUT_S = 30
_GONE, _THERE = 404, 409


@dataclass(frozen=True, slots=True)
class KubernetesLauncher:
    """Workers as Jobs of a cluster, which its kubeconfig or the pod we run in leads to."""

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
        name = job_name(call.job.job_id, call.job.attempt)
        body = job_manifest(call, self.settings)
        _asked(
            lambda api: api.create_namespaced_job(self.settings.namespace, body, _request_timeout=_TIMEOUT_S), _THERE
        )
        return Launch(handle=f"{_HANDLE}:{self.settings.namespace}:{name}", log=None)

    def has_ended(self, handle: str) -> bool:
        _, namespace, name = handle.split(":")
        found = _asked(lambda api: api.read_namespaced_job(name, namespace, _request_timeout=_TIMEOUT_S), _GONE)
        if found is None:
            return True
        return any(
            told.type in ("Complete", "Failed") and told.status == "True" for told in found.status.conditions or []
        )

    def stop(self, handle: str) -> None:
        _, namespace, name = handle.split(":")
        _asked(
            lambda api: api.delete_namespaced_job(
                name, namespace, propagation_policy="Background", _request_timeout=_TIMEOUT_S
            ),
            _GONE,
        )


def _is_configured() -> bool:
    config = import_module("kubernetes.config")
    for load in (config.load_incluster_config, config.load_kube_config):
        try:
            load()
        except config.ConfigException:
            continue
        return True
    return False


def _asked(ask: Any, fine: int) -> Any:
    """What the cluster answers; None for the status that says it is so already."""
    if not _is_configured():
        raise ConfigError("the kubernetes launcher lacks a cluster (KUBECONFIG, or a pod's service account)")
    client = import_module("kubernetes.client")
    refused = import_module("kubernetes.client.exceptions").ApiException
    away = import_module("urllib3.exceptions").HTTPError
    try:
        with client.ApiClient() as api_client:
            return ask(client.BatchV1Api(api_client))
    except refused as error:
        if error.status == fine:
            return None
        raise StoreError(f"the cluster refused ({error.status} {error.reason}); see its events and our role") from error
    except away as error:
        raise StoreError(f"the cluster does not answer ({type(error).__name__}); try again later") from error

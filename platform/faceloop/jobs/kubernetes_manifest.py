"""The Kubernetes Job of one attempt of a job, as plain values."""

from dataclasses import dataclass

from faceloop.jobs.launchers import WorkerCall
from facestore.ids import JsonValue

_KEPT_S = 7 * 86_400  # an ended Job, with its log
_GRACE_S = 30  # a worker that is told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where workers run. The claim is mounted at the root's own path, so that params mean the same there."""

    namespace: str
    image: str
    gpus: int
    claim: str | None  # PersistentVolumeClaim that holds the root
    env_from: str | None  # Secret whose entries become environment variables: catalogue, bucket


def job_name(job_id: str, attempt: int) -> str:
    """Named after job and attempt: creating it twice is creating it once."""
    return f"faceloop-{job_id}-{attempt}"


def job_manifest(call: WorkerCall, settings: ClusterSettings) -> dict[str, JsonValue]:
    """A batch/v1 Job that Kubernetes itself never starts again: our attempts are counted in SQL."""
    labels: dict[str, JsonValue] = {
        "app.kubernetes.io/name": "faceloop",
        "app.kubernetes.io/component": call.job.kind,
        "faceloop/job": call.job.job_id,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(call.job.job_id, call.job.attempt),
            "namespace": settings.namespace,
            "labels": labels,
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _KEPT_S,
            "template": {"metadata": {"labels": labels}, "spec": _pod(call, settings)},
        },
    }


def _pod(call: WorkerCall, settings: ClusterSettings) -> dict[str, JsonValue]:
    container: dict[str, JsonValue] = {
        "name": "worker",
        "image": settings.image,
        "command": ["faceloop"],
        "args": list(call.arguments()),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if settings.gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(settings.gpus)}}
    if settings.env_from:
        container["envFrom"] = [{"secretRef": {"name": settings.env_from}}]
    volumes: list[JsonValue] = []
    if settings.claim:
        container["volumeMounts"] = [{"name": "root", "mountPath": str(call.root)}]
        volumes = [{"name": "root", "persistentVolumeClaim": {"claimName": settings.claim}}]
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": volumes,
    }

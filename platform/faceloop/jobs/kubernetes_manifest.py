"""The Kubernetes Job of one attempt of a job, as plain values; of a training on several machines, its Service too."""

import shlex
from dataclasses import dataclass

from faceloop.jobs.launchers import WorkerCall
from facestore.ids import JsonValue

_KEPT_S = 7 * 86_400  # an ended Job, with its log
_GRACE_S = 30  # a worker that is told to end
_TOGETHER_S = 3600  # between the first pod of a training that runs and the last
_QUEUE = "kueue.x-k8s.io/queue-name"
# Index 0 runs the job as every worker does; the others lend it their ranks.
_BY_INDEX = 'if [ "$JOB_COMPLETION_INDEX" = 0 ]; then exec faceloop "$@"; fi; exec faceloop train-node --node '


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Where workers run. The claim is mounted at the root's own path, so that params mean the same there."""

    namespace: str
    image: str
    gpus: int  # of a pod; where it is not 0, a training's pod has as many as ranks
    claim: str | None  # PersistentVolumeClaim that holds the root
    env_from: str | None  # Secret whose entries become environment variables: catalogue, bucket
    priority: str | None = None  # PriorityClass of the pods
    queue: str | None = None  # LocalQueue of Kueue: the Job is made suspended, and starts when there is quota
    deadline_s: int | None = None  # after which Kubernetes ends the Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of the cluster a job takes."""

    nodes: int
    gpus: int  # of each pod


def job_name(job_id: str, attempt: int) -> str:
    """Named after job and attempt: creating it twice is creating it once."""
    return f"faceloop-{job_id}-{attempt}"


def job_manifest(call: WorkerCall, settings: ClusterSettings, extent: Extent | None = None) -> dict[str, JsonValue]:
    """A batch/v1 Job that Kubernetes itself never starts again: our attempts are counted in SQL."""
    extent = extent or Extent(nodes=1, gpus=settings.gpus)
    labels: dict[str, JsonValue] = {
        "app.kubernetes.io/name": "faceloop",
        "app.kubernetes.io/component": call.job.kind,
        "faceloop/job": call.job.job_id,
    }
    spec: dict[str, JsonValue] = {
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": _KEPT_S,
        "template": {"metadata": {"labels": labels}, "spec": _pod(call, settings, extent)},
    }
    if extent.nodes > 1:
        spec |= _indexed(extent.nodes)
    if settings.deadline_s is not None:
        spec["activeDeadlineSeconds"] = settings.deadline_s
    if settings.queue:
        spec["suspend"] = True  # until Kueue admits it
    name = job_name(call.job.job_id, call.job.attempt)
    own = labels | ({_QUEUE: settings.queue} if settings.queue else {})
    metadata: dict[str, JsonValue] = {"name": name, "namespace": settings.namespace, "labels": own}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def service_manifest(name: str, namespace: str, job_uid: str) -> dict[str, JsonValue]:
    """The headless Service by which the pods of Job `name` find the first one; it goes when the Job does."""
    owner: JsonValue = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job_uid}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner]},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": name}},
    }


def _indexed(nodes: int) -> dict[str, JsonValue]:
    """One pod a machine, all or none: the first that fails or is evicted fails the Job, which then names it."""
    return {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "NotIn", "values": [0]}},
            ]
        },
    }


def _pod(call: WorkerCall, settings: ClusterSettings, extent: Extent) -> dict[str, JsonValue]:
    name = job_name(call.job.job_id, call.job.attempt)
    mounts: list[JsonValue] = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108  # readers and NCCL share there
    volumes: list[JsonValue] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if settings.claim:
        mounts.append({"name": "root", "mountPath": str(call.root)})
        volumes.append({"name": "root", "persistentVolumeClaim": {"claimName": settings.claim}})
    container: dict[str, JsonValue] = {
        "name": "worker",
        "image": settings.image,
        "command": ["faceloop"],
        "args": list(call.arguments()),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the end of its log, in its status
        "volumeMounts": mounts,
    }
    if extent.gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(extent.gpus)}}
    if settings.env_from:
        container["envFrom"] = [{"secretRef": {"name": settings.env_from}}]
    pod: dict[str, JsonValue] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": volumes,
    }
    if extent.gpus:
        pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    if settings.priority:
        pod["priorityClassName"] = settings.priority
    if extent.nodes > 1:
        pod["subdomain"] = name
        container["command"] = ["/bin/sh", "-c", _by_index(call), "faceloop"]
        container["env"] = [
            {"name": "FACELOOP_TRAIN_ADDRESS", "value": f"{name}-0.{name}"},
            {"name": "FACELOOP_TRAIN_PATIENCE_S", "value": str(_TOGETHER_S)},
        ]
    return pod


def _by_index(call: WorkerCall) -> str:
    words = ["--root", str(call.root), "--params", str(call.params), "--wait", str(_TOGETHER_S)]
    return f'{_BY_INDEX}"$JOB_COMPLETION_INDEX" {shlex.join(words)}'

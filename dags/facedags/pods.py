"""The same command in a pod of Kubernetes; the worker is free meanwhile."""

import json
from collections.abc import Sequence
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from kubernetes.client import models as k8s  # type: ignore[import-untyped]

from facedags.commanded import Commanded, run_environment
from facedags.jobs import Job
from facedags.results import Result, parsed
from facedags.settings import settings
from facedags.wrapper import SHELL


class PodCommand(Commanded, KubernetesPodOperator):
    """Runs `faceloop ARGV` in a pod; the worker is free meanwhile (deferrable)."""

    template_fields: Sequence[str] = ("argv", "env_vars", "only_if")
    template_ext: Sequence[str] = ()

    def __init__(
        self,
        *,
        argv: Sequence[str | Sequence[str]],
        skip_on: Sequence[int] = (),
        is_gpu: bool = False,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        chosen = settings()
        super().__init__(
            argv=argv,
            name=f"faceloop-{kwargs['task_id']}".replace("_", "-").lower(),
            namespace=chosen.namespace,
            image=chosen.gpu_image if is_gpu else chosen.image,
            cmds=list(SHELL),
            env_vars=run_environment(),
            env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=chosen.secret))]
            if chosen.secret
            else [],
            volumes=[_claimed(chosen.volume)] if chosen.volume else [],
            volume_mounts=[k8s.V1VolumeMount(name="faceloop", mount_path=chosen.mount)] if chosen.volume else [],
            container_resources=k8s.V1ResourceRequirements(limits={"nvidia.com/gpu": "1"}) if is_gpu else None,
            node_selector=dict(chosen.gpu_selector) if is_gpu else {},
            tolerations=[k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists")] if is_gpu else [],
            service_account_name=chosen.service_account,
            security_context=k8s.V1PodSecurityContext(  # our images' user; the result's sidecar too
                run_as_non_root=True, run_as_user=50000, run_as_group=0, fs_group=0
            ),
            do_xcom_push=True,
            skip_on_exit_code=list(skip_on),
            deferrable=deferrable,
            on_finish_action="delete_succeeded_pod",
            log_pod_spec_on_failure=False,  # its environment may hold secrets
            **kwargs,
        )

    def said(self, context: Context) -> Result:
        # Kubernetes fills in $(NAME) in arguments; $$ is a dollar to it, and nothing else
        self.arguments = [word.replace("$", "$$") for word in self.words]
        return self._checked(KubernetesPodOperator.execute(self, context))

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        return self.concluded(
            context, lambda: self._checked(KubernetesPodOperator.trigger_reentry(self, context, event))
        )

    def _checked(self, returned: Any) -> Result:
        return parsed("" if returned is None else json.dumps(returned), self.leave_out)


def _claimed(claim: str) -> k8s.V1Volume:
    source = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
    return k8s.V1Volume(name="faceloop", persistent_volume_claim=source)


class PodJob(Job, PodCommand):
    """Submitted by a pod."""

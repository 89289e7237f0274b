"""What a cluster is told, from the environment: it is the machine's, not the loop's; and how much a job takes of it."""

from collections.abc import Mapping

from faceloop.jobs.kubernetes_manifest import ClusterSettings, Extent
from faceloop.jobs.launchers import WorkerCall
from faceloop.params import read_params, section
from faceloop.training.train_params import TrainParams
from facestore.errors import ConfigError

_PREFIX = "FACELOOP_KUBERNETES_"


def cluster_settings(environ: Mapping[str, str]) -> ClusterSettings:
    """From FACELOOP_KUBERNETES_…. Raises ConfigError for what is no number."""

    def word(name: str) -> str | None:
        return environ.get(f"{_PREFIX}{name}") or None

    def number(name: str) -> int | None:
        text = word(name)
        if text is not None and not text.isdecimal():
            raise ConfigError(f"{_PREFIX}{name} = {text!r}: give a whole number, 0 or more")
        return int(text) if text is not None else None

    return ClusterSettings(
        namespace=word("NAMESPACE") or "default",
        image=word("IMAGE") or "",
        gpus=number("GPUS") or 0,
        claim=word("CLAIM"),
        env_from=word("SECRET"),
        priority=word("PRIORITY"),
        queue=word("QUEUE"),
        deadline_s=number("DEADLINE_S") or None,
    )


def extent_of(call: WorkerCall, settings: ClusterSettings) -> Extent:
    """A training takes what its params say: `nodes` pods, on a cluster with GPUs with `ranks` of them each.

    Raises ConfigError when its params cannot be read.
    """
    if call.job.kind != "train":
        return Extent(nodes=1, gpus=settings.gpus)
    params = section(read_params(call.params), "train", TrainParams)
    has_gpus = settings.gpus > 0 and params.device != "cpu"
    return Extent(nodes=params.nodes, gpus=params.ranks if has_gpus else 0)

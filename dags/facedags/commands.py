"""The factory: a command of the platform as an Airflow task, here, in a container or in a pod."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypedDict, Unpack

from airflow.sdk import Asset, BaseOperator, XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator

from facedags.results import COME_BACK_LATER, NOT_READY, NOTHING_TO_DO
from facedags.settings import settings

POOL, GPU_POOL = "faceloop", "faceloop_gpu"
ON_GPU = {("run", "detect"), ("run", "embed"), ("jobs", "submit")}  # where deployments with GPUs want one
ARRIVED = "none_failed_min_one_success"  # runs unless all before it was skipped

Argv = Sequence[str | Sequence[str]]


class How(TypedDict, total=False):
    """How a task is run; what is left out is as Airflow has it, or as `house_rules` say."""

    pick: str
    only_if: str
    resumes: bool
    leave_out: Sequence[str]
    is_patient: bool  # skipped, not retried, where another holds it or a server is away
    gives_way: bool  # skipped, not retried, where its inputs are being made anew: a later run has them whole
    retries: int
    hours: float
    trigger_rule: str
    outlets: Sequence[Asset]
    doc_md: str


def command(task_id: str, argv: Argv, **how: Unpack[How]) -> BaseOperator:
    """One task that runs `faceloop ARGV`; see Commanded for what its words may be."""
    made: BaseOperator = _operator("Command")(argv=argv, **_arguments(task_id, argv, how))
    return made


def job(task_id: str, argv: Argv, **how: Unpack[How]) -> BaseOperator:
    """One task that submits a job and waits for its end without a worker."""
    made: BaseOperator = _operator("Job")(argv=argv, **_arguments(task_id, argv, how))
    return made


def commands(
    task_id: str, argv: Sequence[str], each: BaseOperator, words: Callable[[str], list[str]], **how: Unpack[How]
) -> MappedOperator:
    """One task for each id that `each` picked: runs `faceloop ARGV` with what `words` makes of the id."""
    given = _arguments(task_id, argv, how)
    over = XComArg(each).map(lambda share: [*argv, *words(share)])
    partial = _operator("Command").partial(map_index_template="{{ task.share }}", **given)
    mapped: MappedOperator = partial.expand(argv=over)
    return mapped


def _operator(kind: str) -> Any:
    """The class of this deployment's executor; its provider is imported only where it is used."""
    match settings().executor:
        case "docker":
            from facedags.containers import DockerCommand, DockerJob

            return DockerJob if kind == "Job" else DockerCommand
        case "kubernetes":
            from facedags.pods import PodCommand, PodJob

            return PodJob if kind == "Job" else PodCommand
        case _:
            from facedags.jobs import LocalJob
            from facedags.local import LocalCommand

            return LocalJob if kind == "Job" else LocalCommand


def _arguments(task_id: str, argv: Argv, how: How) -> dict[str, Any]:
    is_gpu = settings().is_gpu_used and tuple(argv[:2]) in ON_GPU
    known: dict[str, Any] = {
        "task_id": task_id,
        "skip_on": [
            NOTHING_TO_DO,
            *([COME_BACK_LATER] if how.get("is_patient") else []),
            *([NOT_READY] if how.get("gives_way") else []),
        ],
        "pool": GPU_POOL if is_gpu else POOL,
        "execution_timeout": timedelta(hours=how.get("hours", 6.0)),
    }
    if is_gpu and tuple(argv[:3]) == ("jobs", "submit", "train"):
        known["pool_slots"] = settings().train_slots
    if is_gpu and settings().gpu_queue:
        known["queue"] = settings().gpu_queue
    if settings().executor != "local":
        known["is_gpu"] = is_gpu
    same = ("pick", "only_if", "resumes", "leave_out", "retries", "trigger_rule", "doc_md")
    known |= {name: how[name] for name in same if name in how}  # type: ignore[literal-required]
    if "outlets" in how:
        known["outlets"] = list(how["outlets"])
    return known


def house_rules() -> dict[str, Any]:
    """Defaults of every task: retried with growing pauses, so that passing trouble passes."""
    return {
        "owner": "faceloop",
        "retries": settings().retries,
        "retry_delay": settings().retry_delay,
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=5),
    }

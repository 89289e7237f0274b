"""`loop plan-batches`: the batches that a stage has to work on, grouped over a few tasks."""

from dataclasses import dataclass

from faceloop.intake.shares import share_out
from faceloop.intake.standing import standing_of
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stage import load_stage
from facestore.publish import read_manifest
from facestore.records import Footage
from facestore.tables import read_columns

_PHOTO_S = 0.5  # video that takes about as long as a photo, which is always looked at in detail


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """Batches of a stage that need work, `unchanged` ones not among them; a group is for one task."""

    stage: str
    batches: int
    unchanged: int
    groups: tuple[tuple[str, ...], ...]


def plan_batches(work: Workspace, stage: str) -> BatchPlan:
    """Group what the coming run of a batched stage would work on, in at most `loop.most_tasks` groups of nearly equal
    weight. Raises StageError as the stage itself would: inputs missing or mixed."""
    standing = standing_of(work, stage)
    weighed = [(batch, _weight(work, stage, batch), batch) for batch in standing.due]
    groups = share_out(weighed, section(work.tree, "loop", LoopParams).most_tasks)
    return BatchPlan(
        stage=stage,
        batches=len(standing.due) + standing.unchanged,
        unchanged=standing.unchanged,
        groups=tuple(sorted(tuple(group) for group in groups)),
    )


def _weight(work: Workspace, stage: str, batch: str) -> float:
    """Seconds of footage where a stage reads footage, else bytes of its inputs."""
    ins = load_stage(stage).ins
    if ins == ("footage",):
        times_s = read_columns(work.path("footage") / batch, "footage", Footage, ["duration_s"])["duration_s"]
        return float(sum(_PHOTO_S if time_s is None else time_s for time_s in times_s.to_pylist()))
    manifests = [manifest for artifact in ins if (manifest := read_manifest(work.path(artifact))) is not None]
    sizes = [
        size for manifest in manifests for name, (size, _) in manifest.files.items() if name.startswith(f"{batch}/")
    ]
    return float(sum(sizes))

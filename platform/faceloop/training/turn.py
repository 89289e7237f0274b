"""One turn of training on one rank: start, classes, fit, and on rank 0 the candidate."""

import shutil
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from faceloop.progress import ProgressReporter
from faceloop.training.blending import blend, recalibrate, weights_of
from faceloop.training.candidate import Candidate, write_candidate
from faceloop.training.classes import ClassTable, Succession, succeed
from faceloop.training.course import Course, Fitted, train_split
from faceloop.training.curve import Point, Step
from faceloop.training.extra_losses import centre_loss, extra_losses
from faceloop.training.fitting import fit
from faceloop.training.learner import Learner
from faceloop.training.margins import Margin
from faceloop.training.optimisers import memory_of, restore_state, state_of
from faceloop.training.ranks import World, repeatable
from faceloop.training.reading.augmentation_profile import AugmentationProfile, read_profile
from faceloop.training.reading.batches import KeepDecoded, TrainReader, worker_faults
from faceloop.training.reading.hard_sets import sample_weights
from faceloop.training.reading.order import Balanced, PerIdentity, Sampler, Shuffled
from faceloop.training.sharded_classifier import ShardedClassifier
from faceloop.training.starting import Beginning, beginning
from faceloop.training.train_params import LossParams, SamplerParams
from faceloop.training.validation import ValSplit, embed_rows
from facestore.records import ReleaseSample
from facestore.shards import ShardReader
from facestore.tables import read_columns

_MOST_PROBES = 16  # crops that torch and ONNX Runtime are compared on
_SAMPLES_OF_A_MEAN = 16  # of an identity, that its first centre is the mean of


def run_course(course: Course, world: World, progress: ProgressReporter) -> Fitted:
    """Train and, on rank 0, fill `course.candidate`. Every rank calls it; all get the same answer.

    Raises ConfigError, StageError (a loss that is not finite), ModelCorrupt (an export that differs).
    """
    params = course.params
    threads = max(1, course.threads // params.ranks)
    with repeatable(params, threads=threads, device=world.device):
        profile = read_profile(params.augmentation)
        split = train_split(course.release)
        start = beginning(params, split.release_version)
        start.backbone.to(world.device)
        untrained = weights_of(start.backbone) if params.blend < 1 else None
        table, succession = first_classes(course, start, split.identity_ids, world)
        classifier = ShardedClassifier(
            start.architecture.dimension,
            len(split.identity_ids),
            rank=world.rank,
            world_size=world.ranks,
            margin=margin_of(params.loss),
            scale=params.loss.scale,
            sub_centres=params.loss.sub_centres,
            sample_rate=params.loss.sample_rate,
            seed=params.seed,
        )
        if table is not None:
            classifier.load_centres(table.centres)
        learner = Learner(
            backbone=start.backbone,
            classifier=classifier,
            preparation=start.preparation,
            params=params,
            world=world,
            centre_loss=centre_loss(params, start.architecture.dimension, len(split.identity_ids), table),
            extras=extra_losses(params, world.device),
        )
        carry_on(learner, start.optimiser, table)
        points = _fitted(learner, course, profile, untrained, progress)
        trained, memory = remembered(learner, split.identity_ids)
        steps = [point for point in points if isinstance(point, Step)]
        if world.is_first:
            write_candidate(
                course.candidate,
                Candidate(
                    backbone=learner.backbone,
                    architecture=start.architecture,
                    kind=start.kind,
                    preparation=start.preparation,
                    detector=start.detector,
                    terms=start.terms,
                    classes=trained,
                    optimiser=memory,
                    split=split,
                    start_id=start.start_id,
                    params=params,
                    threads=threads,
                    augmentation=profile.to_json(),
                    points=tuple(points),
                    probes=_probes(course),
                ),
            )
        world.wait()
        return Fitted(
            steps=len(steps),
            first_loss=steps[0].loss,
            last_loss=steps[-1].loss,
            classes_kept=succession.kept,
            classes_new=succession.new,
            classes_gone=succession.gone,
        )


def _fitted(
    learner: Learner,
    course: Course,
    profile: AugmentationProfile,
    untrained: Mapping[str, Tensor] | None,
    progress: ProgressReporter,
) -> list[Point]:
    params, world = course.params, learner.world
    reader = TrainReader(
        course.release / "train",
        batch_size=params.batch_size,
        sampler=sampler_of(params.sampler),
        augmentation=profile,
        rank=world.rank,
        world_size=world.ranks,
        workers=params.workers,
        seed=params.seed,
        is_pinned=world.device.type == "cuda",
        keep_decoded=keep_decoded(course),
        weights=sample_weights(course.release, params.loss),
    )
    try:
        with worker_faults():
            points = fit(learner, reader, ValSplit(course.release / "val"), course.folder, progress)
        if untrained is not None:
            blend(learner.backbone, untrained, params.blend)
            recalibrate(learner.backbone, reader.batches(0), learner.preparation, world.device)
        return points
    finally:
        reader.close()


def keep_decoded(course: Course) -> KeepDecoded | None:
    """Where pictures stay as they were decoded; nowhere if each is looked at only once."""
    room_bytes = min(int(course.params.keep_decoded_gib * 2**30), shutil.disk_usage(course.folder).free // 2)
    if course.params.schedule.epochs < 2 or not room_bytes:
        return None
    return KeepDecoded(folder=course.folder, room_bytes=room_bytes)


def sampler_of(params: SamplerParams) -> Sampler:
    match params.kind:
        case "shuffled":
            return Shuffled(buffer_samples=params.buffer_samples)
        case "balanced":
            return Balanced()
        case "pxk":
            return PerIdentity(samples_per_identity=params.samples_per_identity)


def margin_of(loss: LossParams) -> Margin:
    match loss.kind:
        case "arcface":
            return Margin.arcface(loss.margin, drop_negatives_above=loss.interclass_filter)
        case "cosface":
            return Margin.cosface(loss.margin, drop_negatives_above=loss.interclass_filter)
        case "combined":
            return Margin.combined(*loss.combined_margins, drop_negatives_above=loss.interclass_filter)


def first_classes(
    course: Course, start: Beginning, identity_ids: tuple[str, ...], world: World
) -> tuple[ClassTable | None, Succession]:
    """The centres to begin with, the same on every rank; None: at random, as a start from scratch knows nobody."""
    if not start.has_meaning:
        return None, Succession(kept=0, new=len(identity_ids), gone=0)
    known = set(start.classes.identity_ids) if start.classes else set()
    new = [row for row, name in enumerate(identity_ids) if name not in known]
    means = mean_embeddings(course, start, len(identity_ids), new, world)
    params = course.params
    return succeed(start.classes, identity_ids, means, sub_centres=params.loss.sub_centres, seed=params.seed)


def mean_embeddings(course: Course, start: Beginning, classes: int, wanted: list[int], world: World) -> Tensor:
    """(classes, dimension): means over the first samples of the wanted classes, each rank looking at its share."""
    table = read_columns(course.release, "samples", ReleaseSample, ("split", "row", "class_index")).to_pylist()
    left = dict.fromkeys(wanted, _SAMPLES_OF_A_MEAN)
    chosen: list[tuple[int, int]] = []
    for sample in sorted((s for s in table if s["split"] == "train"), key=lambda s: s["row"]):
        if left.get(sample["class_index"], 0):
            left[sample["class_index"]] -= 1
            chosen.append((sample["row"], sample["class_index"]))
    mine = chosen[world.rank :: world.ranks]
    sums = torch.zeros((classes, start.architecture.dimension))
    reader = ShardReader(course.release / "train")
    vectors = embed_rows(start.backbone, reader, [row for row, _ in mine], start.preparation, world.device)
    for vector, (_, index) in zip((one for batch in vectors for one in batch), mine, strict=True):
        sums[index] += vector
    return world.sum(sums.to(world.device)).cpu()


def carry_on(learner: Learner, earlier: Mapping[str, Tensor], table: ClassTable | None) -> None:
    """Give the optimiser the memory of the earlier turn, where it is one of the same kind of optimiser."""
    memory = dict(earlier)
    if table is not None:
        rows = learner.classifier.rows
        memory |= {f"centres|{key}": values[rows.start : rows.stop] for key, values in table.state.items()}
    if {label.rpartition("|")[2] for label in memory} == memory_of(learner.params.optimiser):
        restore_state(learner.optimiser, learner.named_backbone, memory)
        restore_state(learner.optimiser, learner.named_rows, memory)


def remembered(learner: Learner, identity_ids: tuple[str, ...]) -> tuple[ClassTable, dict[str, Tensor]]:
    """All class centres with their optimiser state, and the rest of the optimiser's memory. Every rank calls it."""
    rows = state_of(learner.optimiser, learner.named_rows)
    whole = {label.rpartition("|")[2]: learner.world.collect(value) for label, value in rows.items() if value.ndim}
    table = ClassTable(identity_ids=identity_ids, centres=learner.classifier.gather_centres(), state=whole)
    single = {label: value for label, value in rows.items() if not value.ndim}  # steps taken, alike on every rank
    return table, state_of(learner.optimiser, learner.named_backbone) | single


def _probes(course: Course) -> Tensor:
    reader = ShardReader(course.release / "train")
    crops = [reader[row].image_rgb for row in range(min(_MOST_PROBES, len(reader)))]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)

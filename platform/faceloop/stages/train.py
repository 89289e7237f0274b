"""train: a release to a candidate, which is a model pack. Goes on where a killed run stopped."""

from faceloop.progress import ProgressReporter
from faceloop.stage import Context, In, Out, Report
from faceloop.training.candidate_files import start_fingerprint
from faceloop.training.course import Course, Fitted, train_split
from faceloop.training.nodes import run_everywhere
from faceloop.training.places import folder_of, mark_finished, sweep_trainings
from faceloop.training.reading.hard_sets import hard_samples
from faceloop.training.train_params import TrainParams
from facestore.errors import StageError

VERSION = 1
_UNFINISHED_KEPT = 2  # other trainings that a kill left, and that may be resumed with their params


class Params(TrainParams):
    """The section `train`."""


def fingerprint(params: Params) -> str:
    return start_fingerprint(params)


def run(*, release: In, candidate: Out, params: Params, context: Context) -> Report:
    split = train_split(release)
    if len(split.identity_ids) < 2:
        raise StageError(
            f"train: the train split of release {split.release_version} has {split.samples} samples of "
            f"{len(split.identity_ids)} identities, at least 2 identities are needed; add footage of more people, or "
            "lower pack.min_samples_per_identity"
        )
    ranks = params.nodes * params.ranks
    if len(split.identity_ids) < ranks:
        raise StageError(
            f"train: {ranks} ranks for {len(split.identity_ids)} identities; every rank holds one or more, so set "
            "train.ranks or train.nodes lower"
        )
    folder = folder_of(candidate, context.run_key)
    sweep_trainings(folder.parent, context.run_key, kept=_UNFINISHED_KEPT)
    folder.mkdir(parents=True, exist_ok=True)
    course = Course(release=release, candidate=candidate, folder=folder, params=params, threads=context.threads)
    with context.stopwatch.on("train"):
        fitted = _fitted(course, context.run_key, context.progress)
    mark_finished(folder)
    report = Report(items_in=split.samples, published=split.samples)
    if params.loss.hard_sets:
        report.figures["hard_samples"] = int(hard_samples(release, params.loss).sum())
    report.figures["steps"] = fitted.steps
    report.figures["identities"] = len(split.identity_ids)
    report.figures["identities_kept"] = fitted.classes_kept
    report.figures["identities_new"] = fitted.classes_new
    report.figures["identities_gone"] = fitted.classes_gone
    context.progress.say(f"train: loss {fitted.first_loss:.4f} to {fitted.last_loss:.4f} in {fitted.steps} steps")
    return report


def _fitted(course: Course, run_key: str, progress: ProgressReporter) -> Fitted:
    if course.params.nodes * course.params.ranks > 1:
        return run_everywhere(course, run_key, progress.say)
    from faceloop.training.ranks import World, device_for
    from faceloop.training.turn import run_course

    return run_course(course, World(device=device_for(course.params.device, local_rank=0)), progress)

"""The forms of a candidate: float32 and what the precision and pruning steps make of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import onnx

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.channels import prune_channels
from faceloop.export.embedding import contract_of
from faceloop.export.engines import Form
from faceloop.export.params import ExportParams
from faceloop.export.precisions import to_float16, to_int8
from faceloop.export.pruning import magnitude_masks, prune
from faceloop.export.release_faces import choose_stratified, read_crops, read_samples
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.recogniser import normalise
from faceloop.vision.specs import Preprocessing
from facestore.errors import ConfigError, DataError
from facestore.records import ReleaseSample


class Recover(Protocol):
    """Teaches a smaller graph the embeddings of the whole one: `faceloop.training.recovering`, handed in by the stage,
    because an export that prunes nothing needs no trainer."""

    def __call__(
        self, student: bytes, teacher: bytes, crops_rgb: UInt8Array, preprocessing: Preprocessing, *, steps: int
    ) -> bytes: ...


def make_form(
    form: Form,
    canonical: RecogniserGraph,
    *,
    release: Path,
    preprocessing: Preprocessing,
    params: ExportParams,
    recover: Recover | None = None,
) -> RecogniserGraph:
    """One form of the canonical graph.

    Raises DataError where the graph or the release does not allow it, ConfigError where a form is to be trained and
    nobody handed in how.
    """
    match form:
        case "float32":
            return canonical
        case "float16":
            return to_float16(canonical)
        case "int8":
            batches = calibration_batches(release, canonical, preprocessing, params)
            return to_int8(canonical, batches, float_layers=params.calibration.float_layers)
        case "pruned":
            smaller = prune(canonical, magnitude_masks(canonical, params.pruning.weights, scope=params.pruning.scope))
        case "channels":
            smaller = prune_channels(canonical, params.pruning.channels)
        case "distilled":
            smaller = _student(canonical, params.pruning.student_channels)
    steps = params.recovery.steps.get(form, 0)
    if steps == 0:
        return smaller
    if recover is None:
        raise ConfigError(f"export.recovery.steps.{form} is {steps} and no trainer was handed in; set it to 0")
    crops = read_crops(release, _drawn(release, params, params.recovery.crops)).crops_rgb
    taught = recover(smaller.onnx_bytes, canonical.onnx_bytes, crops, preprocessing, steps=steps)
    return checked_graph(onnx.load_model_from_string(taught), dimension=canonical.dimension)


def _student(canonical: RecogniserGraph, share: float) -> RecogniserGraph:
    """The narrow network that `distilled` begins as: the candidate's strongest channels, a better start than chance."""
    student = prune_channels(canonical, share)
    if len(student.onnx_bytes) >= len(canonical.onnx_bytes):
        raise DataError(
            f"no channel of the graph can leave, so that a student would be the candidate itself; raise "
            f"export.pruning.student_channels ({share}), or train a student of its own with train.extras.teacher"
        )
    return student


def calibration_batches(
    release: Path, graph: RecogniserGraph, preprocessing: Preprocessing, params: ExportParams
) -> Iterator[Float32Array]:
    """Faces of the calibration split as the graph takes them, drawn evenly over quality, a batch at a time."""
    chosen = _drawn(release, params, params.calibration.count)
    contract = contract_of(graph, preprocessing, hint="f32")
    for start in range(0, len(chosen), params.batch_size):
        yield normalise(read_crops(release, chosen[start : start + params.batch_size]).crops_rgb, contract)


def _drawn(release: Path, params: ExportParams, count: int) -> list[ReleaseSample]:
    """Samples of the calibration split, evenly over quality: what a form is fitted to, and never judged on."""
    wanted = params.calibration
    return choose_stratified(read_samples(release, [wanted.split]), strata=wanted.strata, count=count, seed=params.seed)

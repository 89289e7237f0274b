"""The forms of a candidate: float32 and what the precision and pruning steps make of it."""

from collections.abc import Iterator
from pathlib import Path

from faceloop.export.canonical import RecogniserGraph
from faceloop.export.channels import prune_channels
from faceloop.export.embedding import contract_of
from faceloop.export.engines import Form
from faceloop.export.params import ExportParams
from faceloop.export.precisions import to_float16, to_int8
from faceloop.export.pruning import magnitude_masks, prune
from faceloop.export.release_faces import choose_stratified, read_crops, read_samples
from faceloop.vision.arrays import Float32Array
from faceloop.vision.recogniser import normalise
from faceloop.vision.specs import Preprocessing


def make_form(
    form: Form, canonical: RecogniserGraph, *, release: Path, preprocessing: Preprocessing, params: ExportParams
) -> RecogniserGraph:
    """One form of the canonical graph. Raises DataError where the graph or the release does not allow it."""
    match form:
        case "float32":
            return canonical
        case "float16":
            return to_float16(canonical)
        case "int8":
            batches = calibration_batches(release, canonical, preprocessing, params)
            return to_int8(canonical, batches, float_layers=params.calibration.float_layers)
        case "pruned":
            return prune(canonical, magnitude_masks(canonical, params.pruning.weights, scope=params.pruning.scope))
        case "channels":
            return prune_channels(canonical, params.pruning.channels)


def calibration_batches(
    release: Path, graph: RecogniserGraph, preprocessing: Preprocessing, params: ExportParams
) -> Iterator[Float32Array]:
    """Faces of the calibration split as the graph takes them, drawn evenly over quality, a batch at a time."""
    wanted = params.calibration
    chosen = choose_stratified(
        read_samples(release, [wanted.split]), strata=wanted.strata, count=wanted.count, seed=params.seed
    )
    contract = contract_of(graph, preprocessing, hint="f32")
    for start in range(0, len(chosen), params.batch_size):
        yield normalise(read_crops(release, chosen[start : start + params.batch_size]).crops_rgb, contract)

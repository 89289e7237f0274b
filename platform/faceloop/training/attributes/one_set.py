"""One set of heads from its samples to its files: trained, calibrated, measured, exported."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceloop.training.attributes.attribute_params import TrainAttributesParams
from faceloop.training.attributes.canonical_heads import heads_to_onnx
from faceloop.training.attributes.fitting import Course, Network, Samples, Trained, fit, outputs_of
from faceloop.training.attributes.gathering import Labelled
from faceloop.training.attributes.measuring_heads import Calibration, HeadFigures, calibrate, measure_head
from faceloop.training.attributes.targets import Float32Array, Head, columns_of
from faceloop.training.tensor_files import write_tensors
from facestore.records import Split

_PROBES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadSet:
    """What came of a training: `network` in eval mode, and per head its calibration (classes only) and figures."""

    heads: tuple[Head, ...]
    network: Network
    course: Course
    trained: Trained
    calibrations: dict[str, Calibration]
    figures: tuple[HeadFigures, ...]
    counts: dict[Split, int]


def train_set(
    network: Network, items: Labelled, inputs: Tensor, course: Course, params: TrainAttributesParams
) -> HeadSet:
    """`inputs` (items, …) in the order of `items`. The test split is looked at once, at the end."""
    targets = torch.from_numpy(items.targets)
    parts = {split: items.rows(split) for split in ("train", "val", "test")}
    samples = {
        split: Samples(inputs=inputs[torch.tensor(rows, dtype=torch.int64)], targets=targets[rows])
        for split, rows in parts.items()
    }
    trained = fit(network, samples["train"], samples["val"], course)
    on_val, on_test = (outputs_of(network, samples[split].inputs, course) for split in ("val", "test"))
    columns = columns_of(course.heads)
    calibrations, figures = {}, []
    for place, head in enumerate(course.heads):
        where = columns[head.name]
        truths = {split: _truth(items.targets[rows], where, head) for split, rows in parts.items()}
        if head.kind == "classes":
            calibrations[head.name] = calibrate(
                on_val[place][truths["val"][1]],
                truths["val"][0].astype(np.int64),
                least_faces=params.support.val_faces,
                sure_accuracy=params.sure_accuracy,
            )
        truth, rows = truths["test"]
        figures.append(
            measure_head(
                head,
                on_test[place][rows],
                truth,
                [items.person_ids[parts["test"][row]] for row in rows],
                truths["train"][0],
                support=params.support,
                intervals=params.intervals,
                seed=params.seed,
            )
        )
    return HeadSet(
        heads=course.heads,
        network=network,
        course=course,
        trained=trained,
        calibrations=calibrations,
        figures=tuple(figures),
        counts={split: len(rows) for split, rows in parts.items()},  # type: ignore[misc]  # the three splits
    )


def _truth(
    targets: Float32Array, where: slice, head: Head
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[int]]:
    """Value numbers (classes) or numbers of the rows that were answered, and which rows those are."""
    rows = np.flatnonzero(targets[:, where.stop] > 0)
    columns = targets[rows, where]
    truth = columns.argmax(axis=1) if head.kind == "classes" else columns[:, 0]
    return truth.astype(np.float64), rows.tolist()


def save_set(folder: Path, name: str, made: HeadSet, inputs: Tensor) -> bytes:
    """`NAME.onnx` and `NAME.safetensors`; returns the ONNX model. Raises ModelCorrupt where it differs from torch."""
    model = heads_to_onnx(made.network, made.heads, made.course.prepare(inputs[:_PROBES]))
    (folder / f"{name}.onnx").write_bytes(model)
    write_tensors(folder / f"{name}.safetensors", made.network.state_dict())
    return model

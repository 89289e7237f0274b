"""The candidate folder: a model pack that anything here can run, and what the next turn needs to go on from it.

    manifest.json, model.onnx, detector.onnx           the pack
    weights.safetensors, architecture.json             the backbone, and how to build it
    classifier.safetensors, classes.json               class centres (classes, sub_centres, dimension), who is who
    optimiser.safetensors                              the optimiser's memory of the backbone
    training.json, curve.jsonl, curve.png, augmentation.json, README.md

The same training writes the same bytes: no clocks, no paths.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from faceloop.training.backbones.architecture import Architecture
from faceloop.training.candidate_files import (
    ARCHITECTURE,
    AUGMENTATION,
    CENTRES,
    CLASSES,
    DETECTOR,
    MANIFEST,
    MODEL,
    OPTIMISER,
    TRAINING,
    WEIGHTS,
)
from faceloop.training.canonical import OPSET, parity, to_onnx
from faceloop.training.classes import ClassTable
from faceloop.training.course import TrainSplit
from faceloop.training.curve import Point, Step, Validation, write_curve
from faceloop.training.preparing import Preparation
from faceloop.training.tensor_files import read_tensors, write_tensors
from faceloop.training.train_params import TrainParams
from faceloop.vision.model_files import read_verified
from faceloop.vision.specs import DetectorSpec, RecogniserKind
from facestore.errors import ModelCorrupt
from facestore.ids import JsonValue, canonical_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under which licence the candidate stands: that of what it started from, and of its teacher."""

    licence: str
    requires_acceptance: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """All that the folder is made of. `start_id` names a start without a path: scratch, or pack and sha256."""

    backbone: nn.Module
    architecture: Architecture
    kind: RecogniserKind
    preparation: Preparation
    detector: DetectorSpec
    terms: Terms
    classes: ClassTable
    optimiser: Mapping[str, Tensor]
    split: TrainSplit
    start_id: str
    params: TrainParams
    threads: int
    augmentation: str  # the profile, as JSON
    points: tuple[Point, ...]
    probes: Tensor  # (n, 3, 112, 112) uint8 crops of the release, for the comparison of torch with ONNX Runtime


def write_candidate(folder: Path, candidate: Candidate) -> None:
    """Fill an empty folder. Raises ModelCorrupt when the ONNX model is not what was trained."""
    write_tensors(folder / WEIGHTS, candidate.backbone.state_dict())
    state = {f"state.{key}": value for key, value in candidate.classes.state.items()}
    write_tensors(folder / CENTRES, {"centres": candidate.classes.centres, **state})
    write_tensors(folder / OPTIMISER, candidate.optimiser)
    model = to_onnx(candidate.backbone)
    least = parity(candidate.backbone, model, candidate.preparation.pixels(candidate.probes))
    (folder / MODEL).write_bytes(model)
    detector = read_verified(candidate.detector.model_path, sha256=candidate.detector.sha256)
    (folder / DETECTOR).write_bytes(detector)
    pack_id = f"faceloop-{candidate.split.release_version}-{sha256(model).hexdigest()[:8]}"
    _write_json(folder / MANIFEST, _manifest(candidate, pack_id, model))
    (folder / ARCHITECTURE).write_text(candidate.architecture.to_json(), encoding="utf-8")
    _write_json(folder / CLASSES, {"identity_ids": list(candidate.classes.identity_ids)})
    (folder / AUGMENTATION).write_text(candidate.augmentation, encoding="utf-8")
    _write_json(folder / TRAINING, _training(candidate, pack_id, least))
    write_curve(folder, candidate.points)
    (folder / "README.md").write_text(_card(candidate, pack_id), encoding="utf-8")


def read_classes(folder: Path) -> ClassTable:
    """The class centres of an earlier candidate. Raises ModelCorrupt where the folder holds none."""
    try:
        tensors = read_tensors(folder / CENTRES)
        names = json.loads((folder / CLASSES).read_bytes())["identity_ids"]
        state = {key.removeprefix("state."): value for key, value in tensors.items() if key.startswith("state.")}
        return ClassTable(identity_ids=tuple(names), centres=tensors["centres"], state=state)
    except (OSError, ValueError, KeyError) as error:
        raise ModelCorrupt(
            f"{folder} is no whole candidate ({error!r}); start from a folder that train wrote"
        ) from error


def _write_json(path: Path, value: JsonValue) -> None:
    path.write_text(canonical_json(value) + "\n", encoding="utf-8")


def _manifest(candidate: Candidate, pack_id: str, model: bytes) -> JsonValue:
    spec, pixels = candidate.detector, candidate.preparation.preprocessing
    manifest: dict[str, JsonValue] = {
        "manifest_version": 1,
        "pack_id": pack_id,
        "licence": candidate.terms.licence,
        "tasks": {
            "detection": {
                "file": DETECTOR,
                "sha256": spec.sha256,
                "kind": spec.kind,
                "preprocessing": asdict(spec.preprocessing),
            },
            "recognition": {
                "file": MODEL,
                "sha256": sha256(model).hexdigest(),
                "kind": candidate.kind,
                "preprocessing": asdict(pixels),
                "input_size": 112,
                "embedding_dimension": candidate.architecture.dimension,
            },
        },
    }
    if candidate.terms.requires_acceptance is not None:
        manifest["requires_acceptance"] = candidate.terms.requires_acceptance
    return manifest


def _training(candidate: Candidate, pack_id: str, least_cosine: float) -> JsonValue:
    steps = [point for point in candidate.points if isinstance(point, Step)]
    return {
        "pack_id": pack_id,
        "release": candidate.split.release_version,
        "samples": candidate.split.samples,
        "classes": len(candidate.classes.identity_ids),
        "start": candidate.start_id,
        "params": candidate.params.model_dump(mode="json"),
        "ranks": candidate.params.ranks,
        "threads": candidate.threads,
        "seed": candidate.params.seed,
        "steps": len(steps),
        "first_loss": steps[0].loss if steps else None,
        "last_loss": steps[-1].loss if steps else None,
        "validations": [asdict(point) for point in candidate.points if isinstance(point, Validation)],
        "opset": OPSET,
        "least_cosine_to_onnx": round(least_cosine, 7),
        "torch": torch.__version__,
    }


def _card(candidate: Candidate, pack_id: str) -> str:
    params, split = candidate.params, candidate.split
    parameters = sum(value.numel() for value in candidate.backbone.parameters())
    checks = [point for point in candidate.points if isinstance(point, Validation)]
    last = checks[-1] if checks else None
    validation = (
        f"On the val split after the last epoch: TAR {last.tar:.4f} at FAR {last.far:.2g} "
        f"({last.genuine_pairs} genuine, {last.impostor_pairs} impostor pairs)."
        if last
        else "The val split has too few pairs to say anything."
    )
    return f"""---
tags: [face-recognition]
version: {pack_id}
---

# Face recogniser {pack_id}

Aligned 112 × 112 crops to {candidate.architecture.dimension}-D embeddings; compare by cosine.
`model.onnx` is float32, opset {OPSET}.

## Training

| | |
|---|---|
| release | {split.release_version}: {split.samples} samples of {len(split.identity_ids)} identities |
| start | {candidate.start_id} |
| share of the trained weights | {params.blend:g} |
| parameters | {parameters:,} |
| loss | {params.loss.kind}, scale {params.loss.scale:g}, sub-centres {params.loss.sub_centres} |
| optimiser | {params.optimiser.kind}, rate {params.optimiser.learning_rate:g}, batch {params.batch_size} |
| epochs | {params.schedule.epochs} |
| licence | {candidate.terms.licence} |

{validation} Labels are partly the machine's: each counted by its confidence where `label_confidence` is set.

## Evaluation

`faceloop run evaluate` writes the second half of this card, measured on people the training never saw.
"""

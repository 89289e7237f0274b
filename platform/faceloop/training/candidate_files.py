"""Names of the files of a candidate, and what a training that starts from one depends on. Needs no torch."""

from pathlib import Path

from faceloop.training.reading.augmentation_profile import read_profile
from faceloop.training.reading.hard_sets import hard_set_digests
from faceloop.training.train_params import SCRATCH, TrainParams
from faceloop.vision.manifest import MANIFEST
from faceloop.vision.packs import load_pack
from facestore.ids import digest_of, file_sha256

__all__ = ["MANIFEST", "is_candidate", "start_fingerprint"]

WEIGHTS, CENTRES, OPTIMISER = "weights.safetensors", "classifier.safetensors", "optimiser.safetensors"
ARCHITECTURE, CLASSES, TRAINING, AUGMENTATION = (
    "architecture.json",
    "classes.json",
    "training.json",
    "augmentation.json",
)
MODEL, DETECTOR = "model.onnx", "detector.onnx"


def is_candidate(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (ARCHITECTURE, WEIGHTS, CENTRES))


def start_fingerprint(params: TrainParams) -> str:
    """What params only point at: weights to start and to learn from, classes of an earlier candidate,
    augmentation, hard sets.
    """
    found = [digest_of(read_profile(params.augmentation).to_json()), *hard_set_digests(params.loss)]
    for name in (params.start, params.extras.teacher):
        if name in (None, SCRATCH):
            continue
        pack = load_pack(str(name), accept_licence=params.accept_licence, insightface_root=None)
        found.append(pack.recogniser.sha256 if pack.recogniser else "-")
        folder = Path(pack.ref.name).expanduser()
        if name == params.start and pack.ref.source == "folder" and is_candidate(folder):
            kept = (CENTRES, CLASSES, OPTIMISER) if params.carry_optimiser else (CENTRES, CLASSES)
            found += [file_sha256(folder / file) for file in kept]
    return " ".join(found)

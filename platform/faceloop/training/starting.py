"""Where a training starts: from scratch, from a model pack, or from the candidate of an earlier turn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from faceloop.training.backbones.architecture import Architecture, build_backbone
from faceloop.training.backbones.freezing import freeze_batch_norms
from faceloop.training.candidate import Terms, read_classes
from faceloop.training.candidate_files import OPTIMISER, is_candidate
from faceloop.training.classes import ClassTable
from faceloop.training.preparing import Preparation
from faceloop.training.start.starting import start_from_pack
from faceloop.training.tensor_files import read_tensors
from faceloop.training.train_params import SCRATCH, TrainParams
from faceloop.vision.manifest import MANIFEST
from faceloop.vision.packs import BUILTIN, load_pack
from faceloop.vision.specs import DetectorSpec, ModelPack, Preprocessing, RecogniserKind
from facestore.errors import ConfigError

_PIXELS = Preprocessing(colour="RGB", mean=127.5, std=128.0)  # as InsightFace's recognisers take them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beginning:
    """What the first step finds. `classes` and `optimiser` are those of an earlier candidate, if it is one."""

    backbone: nn.Module
    architecture: Architecture
    kind: RecogniserKind
    preparation: Preparation
    detector: DetectorSpec
    terms: Terms
    start_id: str
    has_meaning: bool  # its embeddings say who is alike; random weights do not
    classes: ClassTable | None
    optimiser: Mapping[str, Tensor]


def beginning(params: TrainParams, release_version: str) -> Beginning:
    """Build the backbone. Raises as `load_pack` does, and ConfigError for a pack without a recogniser."""
    if params.start == SCRATCH:
        return _from_scratch(params, release_version)
    pack = load_pack(params.start, accept_licence=params.accept_licence, insightface_root=None)
    if pack.recogniser is None:
        raise ConfigError(f"train.start: pack {pack.pack_id!r} has no recogniser; name one that has, or {SCRATCH!r}")
    start = start_from_pack(pack, is_batch_norm_frozen=params.freeze_batchnorm)
    folder = Path(pack.ref.name).expanduser()
    classes, optimiser = None, {}
    if pack.ref.source == "folder" and is_candidate(folder):
        classes, optimiser = read_classes(folder), read_tensors(folder / OPTIMISER)
        if not params.carry_optimiser:
            classes, optimiser = ClassTable(identity_ids=classes.identity_ids, centres=classes.centres, state={}), {}
    return Beginning(
        backbone=start.module,
        architecture=start.architecture,
        kind=pack.recogniser.kind,
        preparation=Preparation(preprocessing=pack.recogniser.preprocessing),
        detector=pack.detector or _builtin_detector(),
        terms=_with_teacher(_terms(pack), params),
        start_id=start_id(pack),
        has_meaning=True,
        classes=classes,
        optimiser=optimiser,
    )


def start_id(pack: ModelPack) -> str:
    """Which weights, without a path."""
    return f"{pack.pack_id} (recogniser sha256 {pack.recogniser.sha256 if pack.recogniser else None})"


def _from_scratch(params: TrainParams, release_version: str) -> Beginning:
    architecture = Architecture(kind=params.architecture.kind, dimension=params.architecture.dimension)
    licence = f"of the owner of release {release_version}: trained from scratch"
    backbone = build_backbone(architecture, seed=params.seed)
    return Beginning(
        backbone=freeze_batch_norms(backbone) if params.freeze_batchnorm else backbone,
        architecture=architecture,
        kind="arcface",
        preparation=Preparation(preprocessing=_PIXELS),
        detector=_builtin_detector(),
        terms=_with_teacher(Terms(licence=licence, requires_acceptance=None), params),
        start_id=SCRATCH,
        has_meaning=False,
        classes=None,
        optimiser={},
    )


def _builtin_detector() -> DetectorSpec:
    detector = load_pack(BUILTIN, accept_licence=None, insightface_root=None).detector
    if detector is None:
        raise ConfigError("the built-in pack has no detector; install faceloop again")
    return detector


def _terms(pack: ModelPack) -> Terms:
    """Fine-tuned weights stand under the terms of the weights they came from."""
    needed = "non-commercial" if pack.ref.source == "insightface" else None
    if pack.ref.source == "folder":
        manifest = json.loads((Path(pack.ref.name).expanduser() / MANIFEST).read_bytes())
        needed = manifest.get("requires_acceptance")
    return Terms(licence=pack.licence, requires_acceptance=needed)


def _with_teacher(terms: Terms, params: TrainParams) -> Terms:
    """What a student learnt from its teacher is the teacher's too."""
    if params.extras.teacher is None:
        return terms
    teacher = _terms(load_pack(params.extras.teacher, accept_licence=params.accept_licence, insightface_root=None))
    return Terms(
        licence=f"{terms.licence}; teacher: {teacher.licence}",
        requires_acceptance=terms.requires_acceptance or teacher.requires_acceptance,
    )

"""From a model pack to a running detector or recogniser: what the stages call."""

from faceloop.vision.align import ALIGNMENT
from faceloop.vision.contract import EmbeddingContract, Precision
from faceloop.vision.detections import Detector
from faceloop.vision.model_files import read_verified
from faceloop.vision.recogniser import Recogniser
from faceloop.vision.sessions import Engine, Provider, open_session
from faceloop.vision.specs import DetectorSpec, ModelPack, RecogniserSpec
from faceloop.vision.yunet import YuNetDetector
from facestore.errors import ConfigError


def open_detector(
    pack: ModelPack,
    *,
    engine: Engine,
    precision: Precision,
    threads: int,
    provider: Provider = "cpu",
    min_score: float = 0.6,
    max_iou: float = 0.3,
    allow_upscale: bool = False,
) -> Detector:
    """The pack's detector, ready. `min_score` and `max_iou` (of two faces) in [0, 1].

    Raises ConfigError for a pack without a detector or a value out of range, else as `open_session` does.
    """
    spec = pack.detector
    if spec is None:
        raise ConfigError(f"pack {pack.pack_id!r} has no detector; take the detector of another pack ('builtin')")
    for name, value in (("min_score", min_score), ("max_iou", max_iou)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}; set it between 0 and 1")
    session = open_session(
        _folded_detector(spec), engine=engine, precision=precision, threads=threads, provider=provider
    )
    match spec.kind:
        case "yunet":
            return YuNetDetector(
                session,
                preprocessing=spec.preprocessing,
                min_score=min_score,
                max_iou=max_iou,
                allow_upscale=allow_upscale,
            )
        case "scrfd":
            # Importing InsightFace takes a second: only those pay who use it.
            from faceloop.vision.scrfd import ScrfdDetector

            return ScrfdDetector(
                session,
                preprocessing=spec.preprocessing,
                min_score=min_score,
                max_iou=max_iou,
                allow_upscale=allow_upscale,
            )


def embedding_contract(pack: ModelPack, *, precision: Precision) -> EmbeddingContract:
    """The contract of the pack's recogniser at a precision, without opening it.

    Raises ConfigError for a pack without a recogniser.
    """
    spec = _recogniser_spec(pack)
    return EmbeddingContract(
        pack_id=pack.pack_id,
        recogniser_sha256=spec.sha256,
        alignment=ALIGNMENT,
        colour=spec.preprocessing.colour,
        mean=float(spec.preprocessing.mean),
        std=float(spec.preprocessing.std),
        dimension=spec.embedding_dimension,
        precision=precision,
    )


def open_recogniser(
    pack: ModelPack,
    *,
    engine: Engine,
    precision: Precision,
    threads: int,
    batch_size: int,
    provider: Provider = "cpu",
) -> Recogniser:
    """The pack's recogniser, ready.

    Raises ConfigError for a pack without a recogniser or whose normalisation would be applied twice, else as
    `open_session` and `Recogniser` do.
    """
    from faceloop.vision.fold import fold_model, normalises_inside

    spec = _recogniser_spec(pack)
    model_bytes = read_verified(spec.model_path, sha256=spec.sha256)
    if normalises_inside(model_bytes) and (spec.preprocessing.mean, spec.preprocessing.std) != (0.0, 1.0):
        raise ConfigError(
            f"{spec.model_path} normalises pixels inside its graph, the manifest says mean "
            f"{spec.preprocessing.mean}, std {spec.preprocessing.std}; set mean 0 and std 1"
        )
    folded = fold_model(model_bytes, free_axes=("N",))
    session = open_session(folded, engine=engine, precision=precision, threads=threads, provider=provider)
    contract = embedding_contract(pack, precision=precision)
    return Recogniser(session, contract=contract, batch_size=batch_size)


def _recogniser_spec(pack: ModelPack) -> RecogniserSpec:
    if pack.recogniser is None:
        raise ConfigError(f"pack {pack.pack_id!r} has no recogniser; take that of another pack ('builtin')")
    return pack.recogniser


def _folded_detector(spec: DetectorSpec) -> bytes:
    """YuNet's file is fixed to 640 × 640, for no reason of its layers; SCRFD files say themselves."""
    free_axes = ("N", "", "H", "W") if spec.kind == "yunet" else ()
    from faceloop.vision.fold import (
        fold_model,
    )  # late: `onnx` takes a third of a second, and most commands open no model

    return fold_model(read_verified(spec.model_path, sha256=spec.sha256), free_axes=free_axes)

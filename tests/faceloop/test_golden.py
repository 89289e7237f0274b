"""Golden vectors, recorded with OpenCV's own recogniser: they guard colour order, alignment, normalisation."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
import pytest

from faceloop.vision.align import align_crop
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.contract import EmbeddingContract, Precision
from faceloop.vision.models import embedding_contract, open_detector, open_recogniser
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import Recogniser, normalise
from faceloop.vision.sessions import Engine
from faceloop.vision.specs import ModelPack

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "sface.json").read_text("utf-8"))
VECTORS = np.array([face["embedding"] for face in GOLDEN["faces"]], dtype=np.float32)
LANDMARKS_PX = np.array([face["landmarks_px"] for face in GOLDEN["faces"]], dtype=np.float32)
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bfloat16")


def _photo(face: dict[str, Any]) -> UInt8Array:
    return np.asarray(cv2.imread(str(files(face["package"]) / face["path"])), dtype=np.uint8)


def _crops(landmarks_px: Float32Array) -> UInt8Array:
    faces = zip(GOLDEN["faces"], landmarks_px, strict=True)
    return np.stack([align_crop(_photo(face), landmarks) for face, landmarks in faces])


def _cosines(vectors: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(VECTORS, axis=1)
    return np.asarray((vectors * VECTORS).sum(axis=1) / lengths, dtype=np.float32)


@pytest.fixture(scope="module")
def pack() -> ModelPack:
    return load_pack("builtin", accept_licence=None, insightface_root=None)


@pytest.fixture(scope="module")
def recogniser(pack: ModelPack) -> Recogniser:
    return open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=4)


def test_golden_vectors_were_recorded_with_the_built_in_recogniser(pack: ModelPack) -> None:
    assert pack.recogniser is not None
    assert GOLDEN["recogniser_sha256"] == pack.recogniser.sha256


@pytest.mark.parametrize(
    ("engine", "precision", "least"),
    [
        ("onnxruntime", "f32", 0.9999),
        ("openvino", "f32", 0.9999),
        pytest.param("openvino", "bf16", 0.998, marks=needs_bf16),
    ],
)
def test_every_engine_gives_the_golden_vectors(
    pack: ModelPack, engine: Engine, precision: Precision, least: float
) -> None:
    recogniser = open_recogniser(pack, engine=engine, precision=precision, threads=1, batch_size=2)
    embeddings = recogniser.embed(_crops(LANDMARKS_PX))
    assert embeddings.is_valid.all()
    assert _cosines(embeddings.vectors).min() >= least


def test_detector_finds_the_golden_landmarks(pack: ModelPack) -> None:
    detector = open_detector(pack, engine="onnxruntime", precision="f32", threads=1)
    for face, expected in zip(GOLDEN["faces"], LANDMARKS_PX, strict=True):
        image = _photo(face)
        found = detector.detect(image, long_side_px=max(image.shape))
        assert np.abs(found.landmarks_px[0] - expected).max() < 0.1


def test_swapped_colours_are_caught(recogniser: Recogniser) -> None:
    swapped = recogniser.embed(np.ascontiguousarray(_crops(LANDMARKS_PX)[..., ::-1]))
    assert _cosines(swapped.vectors).max() < 0.99


@pytest.mark.parametrize("shift_px", [(6.0, 0.0), (0.0, 6.0), (-6.0, -6.0)])
def test_shifted_alignment_is_caught(recogniser: Recogniser, shift_px: tuple[float, float]) -> None:
    """Six pixels of the crop, put back into pixels of each photo."""
    sizes = np.linalg.norm(LANDMARKS_PX[:, 1] - LANDMARKS_PX[:, 0], axis=1) / 35.2
    moved = LANDMARKS_PX + np.array(shift_px, np.float32) * sizes[:, None, None].astype(np.float32)
    assert _cosines(recogniser.embed(_crops(moved)).vectors).max() < 0.99


def test_mirrored_landmark_order_is_caught(recogniser: Recogniser) -> None:
    person_left_first = LANDMARKS_PX[:, [1, 0, 2, 4, 3]]
    assert _cosines(recogniser.embed(_crops(person_left_first)).vectors).max() < 0.99


def test_normalising_twice_is_caught(pack: ModelPack, recogniser: Recogniser) -> None:
    right = embedding_contract(pack, precision="f32")
    wrong = EmbeddingContract(
        pack_id=right.pack_id,
        recogniser_sha256=right.recogniser_sha256,
        alignment=right.alignment,
        colour=right.colour,
        mean=127.5,
        std=127.5,
        dimension=right.dimension,
        precision=right.precision,
    )
    crops = _crops(LANDMARKS_PX)
    session = recogniser._session
    assert _cosines(session.run(normalise(crops, right))[0]).min() > 0.9999
    assert _cosines(session.run(normalise(crops, wrong))[0]).max() < 0.99

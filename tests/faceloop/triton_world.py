"""A model repository with a tiny recogniser, and an ensemble run as its own config says, by ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from faceloop.export.triton import write_repository
from faceloop.export.triton_config import Batching, Instances, read_config
from faceloop.export.triton_detect import DetectParams
from faceloop.export.triton_models import ServedRecogniser, TritonParams
from faceloop.export.triton_tape import Tape, float32_tensor
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.packs import load_pack
from faceloop.vision.specs import DetectorSpec
from facestore.ids import file_sha256

Array = npt.NDArray[Any]
MIN_SCORE, MAX_IOU, LONG_SIDE_PX = 0.7, 0.3, 640


def params(min_score: float = MIN_SCORE, *, largest: int = 32, gpu: int = 0) -> TritonParams:
    return TritonParams(
        detect=DetectParams(long_side_px=LONG_SIDE_PX, min_score=min_score, max_iou=MAX_IOU, max_faces=8),
        batching=Batching(largest=largest, preferred=(8,), max_wait_us=2000),
        instances=Instances(cpu=1, gpu=gpu),
    )


def builtin_detector() -> DetectorSpec:
    found = load_pack("builtin", accept_licence=None, insightface_root=None).detector
    assert found is not None
    return found


def tiny_recogniser(folder: Path, *, seed: int = 0, dimension: int = 8, batch: int | str = "n") -> ServedRecogniser:
    """Mean colours times a random matrix: a graph of the right shapes that is made in no time."""
    tape = Tape("tiny_")
    means = tape.add("Flatten", tape.add("GlobalAveragePool", "data"))
    matrix = np.random.default_rng(seed).standard_normal((3, dimension)).astype(np.float32)
    tape.named("MatMul", "vectors", means, tape.constant(matrix))
    inputs, outputs = [float32_tensor("data", batch, 3, 112, 112)], [float32_tensor("vectors", batch, dimension)]
    path = folder / f"tiny-{seed}-{dimension}-{batch}.onnx"
    path.write_bytes(tape.model("tiny", inputs, outputs))
    contract = EmbeddingContract(
        pack_id="tiny", recogniser_sha256=file_sha256(path), alignment="arcface-112-5pt", colour="RGB", mean=127.5,
        std=128.0, dimension=dimension, precision="f32",
    )  # fmt: skip
    return ServedRecogniser(onnx_path=path, contract=contract)


def write_tiny(folder: Path, *, seed: int = 0, min_score: float = MIN_SCORE, largest: int = 32) -> Path:
    """A repository at `folder`/models."""
    folder.mkdir(parents=True, exist_ok=True)
    recogniser = tiny_recogniser(folder, seed=seed)
    write_repository(
        folder / "models", detector=builtin_detector(), recogniser=recogniser, params=params(min_score, largest=largest)
    )
    return folder / "models"


def session(model: Path | bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model if isinstance(model, bytes) else str(model), options)


def ask(folder: Path, image_rgb: Array) -> dict[str, Array]:
    """What the ensemble of a repository answers: step by step, tensor by tensor, as its config says."""
    ensemble = read_config(folder / "faces" / "config.pbtxt")
    known: dict[str, Array] = {"IMAGE": image_rgb}
    for step in ensemble.ensemble_scheduling.step:
        config = read_config(folder / step.model_name / "config.pbtxt")
        fed = {name: known[tensor] for name, tensor in step.input_map.items()}
        if config.max_batch_size:
            assert all(1 <= len(value) <= config.max_batch_size for value in fed.values()), "Triton would refuse it"
        names = list(step.output_map)
        found = session(folder / step.model_name / str(step.model_version) / "model.onnx").run(names, fed)
        known |= {step.output_map[name]: value for name, value in zip(names, found, strict=True)}
    return {tensor.name: known[tensor.name] for tensor in ensemble.output}

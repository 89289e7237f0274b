"""A smaller model learns what the whole one says: nearer to it than as it was cut, zeros stay zero, bits repeat."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.channels import prune_channels
from faceloop.export.engines import read_engines
from faceloop.export.exporting import Exported, ExportJob, export_candidate
from faceloop.export.pruning import magnitude_masks, prune
from faceloop.stages.export import recoverer
from faceloop.training.reading.augmentation_profile import read_profile
from faceloop.training.recovering import RecoveryCourse, recover
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import open_session
from faceloop.vision.specs import Preprocessing
from facestore.errors import ConfigError, DataError

from .export_world import DIMENSION, coloured, export_params, tiny_candidate, tiny_graph, tiny_release

CROPS: UInt8Array = np.stack([coloured(who, n) for who in range(12) for n in range(2)])
UNSEEN: UInt8Array = np.stack([coloured(who, 0) for who in range(50, 60)])
PIXELS = Preprocessing(colour="RGB", mean=127.5, std=128.0)
COURSE = RecoveryCourse(
    steps=40, batch_size=8, learning_rate=0.003, seed=5, threads=1, augmentation=read_profile("none")
)


def _vectors(graph: RecogniserGraph) -> Float32Array:
    session = open_session(graph.onnx_bytes, engine="onnxruntime", precision="f32", threads=1)
    pixels = ((UNSEEN.transpose(0, 3, 1, 2).astype(np.float32)) - PIXELS.mean) / PIXELS.std
    raw = session.run(np.ascontiguousarray(pixels, dtype=np.float32))[0]
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def _mean_cosine(graph: RecogniserGraph) -> float:
    return float((_vectors(graph) * _vectors(tiny_graph())).sum(axis=1).mean())


def _taught(student: RecogniserGraph, course: RecoveryCourse = COURSE) -> RecogniserGraph:
    made = recover(student.onnx_bytes, tiny_graph().onnx_bytes, CROPS, PIXELS, course)
    return checked_graph(onnx.load_model_from_string(made), dimension=DIMENSION)


def _halved() -> RecogniserGraph:
    return prune(tiny_graph(), magnitude_masks(tiny_graph(), 0.7, scope="layer"))


def _zeros(graph: RecogniserGraph) -> int:
    tensors = onnx.load_model_from_string(graph.onnx_bytes).graph.initializer
    return sum(int((numpy_helper.to_array(tensor) == 0).sum()) for tensor in tensors if len(tensor.dims) > 1)


def _weights(graph: RecogniserGraph) -> int:
    tensors = onnx.load_model_from_string(graph.onnx_bytes).graph.initializer
    return sum(int(np.prod(tensor.dims)) for tensor in tensors)


def test_a_pruned_model_comes_nearer_to_the_whole_one_on_unseen_pictures_and_its_zeros_stay() -> None:
    cut = _halved()
    taught = _taught(cut)
    assert _mean_cosine(taught) > _mean_cosine(cut)
    assert _zeros(taught) >= _zeros(cut) > 1000


def test_a_narrower_student_learns_the_space_of_its_teacher() -> None:
    student = prune_channels(_halved(), 0.5)
    taught = _taught(student)
    assert _mean_cosine(taught) > _mean_cosine(student)
    assert _weights(taught) < _weights(tiny_graph())


def test_the_same_course_gives_the_same_bytes_and_another_seed_others() -> None:
    short = replace(COURSE, steps=3)
    assert _taught(_halved(), short).sha256 == _taught(_halved(), short).sha256
    assert _taught(_halved(), short).sha256 != _taught(_halved(), replace(short, seed=6)).sha256


def test_no_crops_and_a_rate_that_breaks_the_loss_are_errors() -> None:
    with pytest.raises(DataError, match="no crops"):
        recover(_halved().onnx_bytes, tiny_graph().onnx_bytes, CROPS[:0], PIXELS, COURSE)
    with pytest.raises(DataError, match="lower the learning rate"):
        _taught(_halved(), replace(COURSE, learning_rate=1e30))


def _exported(folder: Path, *, has_trainer: bool) -> Exported:
    """Forms with fewer weights of the tiny candidate, under the gate of half-precision's mean cosine."""
    steps = "export.recovery.steps={pruned: 60, channels: 0, distilled: 60}"
    gate = "{cosine_mean: 0.8, cosine_p01: 0.0, cosine_min: 0.0, drift_mean: 1.0, tar_drop: 1.0, f_drop: 1.0}"
    params = export_params(
        "export.forms=[float32, pruned, distilled]", "export.targets=[onnxruntime]", "export.pruning.weights=0.6",
        "export.recovery.learning_rate=0.003", "export.recovery.augmentation=flip", steps,
        f"export.gates.pruned={gate}", f"export.gates.distilled={gate}",
    )  # fmt: skip
    pack = load_pack(str(tiny_candidate(folder / "candidate")), accept_licence=None, insightface_root=None)
    (folder / "out").mkdir()
    job = ExportJob(
        release=tiny_release(folder / "release"), release_version="r", exported=folder / "out", previous=None
    )
    trainer = recoverer(params, threads=1) if has_trainer else None
    return export_candidate(pack, job, params, threads=1, recover=trainer)


def test_an_export_ships_what_it_taught_and_without_a_trainer_says_so(tmp_path: Path) -> None:
    made = _exported(tmp_path, has_trainer=True)
    assert set(made.shipped) == {"float32", "pruned", "distilled"}
    assert {engine.state for engine in read_engines(tmp_path / "out")} == {"verified"}
    (tmp_path / "again").mkdir()
    with pytest.raises(ConfigError, match="no trainer was handed in"):
        _exported(tmp_path / "again", has_trainer=False)

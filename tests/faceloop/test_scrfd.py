"""SCRFD: a graph with one hot anchor, whose box is known, and a random one against InsightFace's own class."""

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper

from faceloop.vision.fold import fold_model
from faceloop.vision.packs import load_pack
from faceloop.vision.scrfd import ScrfdDetector
from faceloop.vision.sessions import Engine, open_session
from faceloop.vision.specs import Preprocessing
from facestore.errors import ModelCorrupt

SCRFD_PIXELS = Preprocessing(colour="RGB", mean=127.5, std=128.0)
GROUP = np.asarray(cv2.imread(str(files("insightface") / "data/images/t1.jpg")), dtype=np.uint8)
RNG = np.random.default_rng(11)
_STRIDES = (8, 16, 32)


def _one_face_scrfd(side_px: int = 64) -> bytes:
    """Constant outputs: stride 16, row 1, column 2, first anchor is a face; all else scores 0."""
    nodes, initialisers, outputs = [helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0)], [], []
    nodes.append(helper.make_node("Mul", ["sum", "zero"], ["nothing"]))
    initialisers.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    for kind, columns in (("score", 1), ("box", 4), ("kps", 10)):
        for stride in _STRIDES:
            value = np.zeros(((side_px // stride) ** 2 * 2, columns), np.float32)
            if stride == 16:
                face = {"score": [0.75], "box": [1, 0.5, 1.5, 2], "kps": [place / 8 for place in range(10)]}
                value[(1 * (side_px // 16) + 2) * 2] = face[kind]
            name = f"{kind}_{stride}"
            initialisers.append(numpy_helper.from_array(value, f"{name}_value"))
            nodes.append(helper.make_node("Add", [f"{name}_value", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(value.shape)))
    return _onnx(nodes, initialisers, outputs, [1, 3, side_px, side_px])


def _random_scrfd() -> bytes:
    """Random weights over average-pooled pixels, any size."""
    rng = np.random.default_rng(5)
    nodes, initialisers, outputs = [], [], []
    for kind, columns in (("score", 1), ("box", 4), ("kps", 10)):
        for stride in _STRIDES:
            name = f"{kind}_{stride}"
            weights = rng.normal(0, 3, (columns * 2, 3, 1, 1)).astype(np.float32)
            initialisers.append(numpy_helper.from_array(weights, f"{name}_w"))
            initialisers.append(numpy_helper.from_array(np.array([-1, columns], np.int64), f"{name}_shape"))
            square = [stride, stride]
            nodes += [
                helper.make_node("AveragePool", ["image"], [f"{name}_pool"], kernel_shape=square, strides=square),
                helper.make_node("Conv", [f"{name}_pool", f"{name}_w"], [f"{name}_conv"]),
                helper.make_node("Transpose", [f"{name}_conv"], [f"{name}_t"], perm=[2, 3, 0, 1]),
                helper.make_node("Reshape", [f"{name}_t", f"{name}_shape"], [f"{name}_r"]),
                helper.make_node({"score": "Sigmoid", "box": "Abs", "kps": "Identity"}[kind], [f"{name}_r"], [name]),
            ]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, columns]))
    return _onnx(nodes, initialisers, outputs, [1, 3, None, None])


def _onnx(
    nodes: list[onnx.NodeProto],
    initialisers: list[onnx.TensorProto],
    outputs: list[onnx.ValueInfoProto],
    shape: list[int | None],
) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "tiny-scrfd", [image], outputs, initialisers)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _scrfd(model_bytes: bytes, engine: Engine = "onnxruntime", min_score: float = 0.5) -> ScrfdDetector:
    session = open_session(fold_model(model_bytes, free_axes=()), engine=engine, precision="f32", threads=1)
    return ScrfdDetector(session, preprocessing=SCRFD_PIXELS, min_score=min_score, max_iou=0.4, allow_upscale=False)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("zoom", [1, 2, 5])
def test_scrfd_decodes_its_hot_anchor_into_pixels_of_the_image(engine: Engine, zoom: int) -> None:
    image = RNG.integers(0, 256, (64 * zoom, 64 * zoom, 3), dtype=np.uint8)
    found = _scrfd(_one_face_scrfd(), engine).detect(image, long_side_px=10_000)
    assert found.scores == pytest.approx([0.75])
    assert found.boxes_xyxy_px[0] == pytest.approx(np.array([16, 8, 56, 48]) * zoom)
    expected = np.array([32, 16]) + np.arange(10).reshape(5, 2) * 2
    assert found.landmarks_px[0] == pytest.approx(expected * zoom)


def test_scrfd_score_below_the_threshold_is_no_face() -> None:
    found = _scrfd(_one_face_scrfd(), min_score=0.8).detect(np.zeros((64, 64, 3), np.uint8), long_side_px=64)
    assert (len(found), found.landmarks_px.shape) == (0, (0, 5, 2))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_scrfd_of_free_size_equals_insightface(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "det_random.onnx"
    path.write_bytes(_random_scrfd())
    peer = SCRFD(str(path), static_shape_sessions=False)
    image = np.ascontiguousarray(GROUP[100:420, 200:680])
    boxes, landmarks = peer.detect(image, input_size=(480, 320), det_thresh=0.6)
    found = _scrfd(_random_scrfd(), engine, min_score=0.6).detect(image, long_side_px=480)
    assert len(found) == len(boxes) > 3
    assert np.allclose(found.boxes_xyxy_px, boxes[:, :4], atol=0.01)
    assert np.allclose(found.landmarks_px, landmarks, atol=0.01)
    assert np.allclose(found.scores, boxes[:, 4], atol=1e-4)


def test_scrfd_never_sees_more_than_the_long_side() -> None:
    found = _scrfd(_random_scrfd(), min_score=0.6).detect(GROUP, long_side_px=320)
    assert len(found) > 0
    centres = (found.boxes_xyxy_px[:, :2] + found.boxes_xyxy_px[:, 2:]) / 2
    assert centres.max() > 320  # in pixels of the photo, not of the 320-pixel canvas


def test_scrfd_of_fixed_size_does_not_upsize_a_small_image() -> None:
    found = _scrfd(_one_face_scrfd()).detect(np.zeros((20, 30, 3), np.uint8), long_side_px=640)
    assert found.boxes_xyxy_px[0] == pytest.approx([16, 8, 56, 48])


def test_graph_without_landmarks_is_refused() -> None:
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.detector is not None
    with pytest.raises(ModelCorrupt, match="12 outputs"):
        _scrfd(pack.detector.model_path.read_bytes())

"""Folding: small graphs whose answer is computable, and the real files against OpenCV."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceloop.vision.fold import drop_initialiser_inputs, fold_model, normalises_inside
from faceloop.vision.model_files import read_bytes
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import open_session
from facestore.errors import ModelCorrupt

BUILTIN = load_pack("builtin", accept_licence=None, insightface_root=None)


def _graph(
    nodes: list[onnx.NodeProto],
    initialisers: dict[str, np.ndarray],  # type: ignore[type-arg]
    *,
    inputs: tuple[str, ...] = ("x",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6]) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in initialisers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _weights(model_bytes: bytes, name: str) -> np.ndarray:  # type: ignore[type-arg]
    graph = onnx.load_model_from_string(model_bytes).graph
    return next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == name)


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis", "block"),
    [
        (np.array([0.5], np.float32), np.array([1], np.int8), 1, 0),
        (np.array([0.5], np.float32), np.array([1], np.int8), 1, 64),  # the form that ONNX Runtime refuses in YuNet
        (np.array([0.5, 2.0], np.float32), np.array([1, -1], np.int8), 1, 0),
        (np.array([[0.5, 1], [2, 3], [4, 5]], np.float32), np.array([[1, 2], [3, 4], [5, 6]], np.int8), 0, 2),
        (
            np.array([[0.5, 1], [2, 3]], np.float32),
            np.array([[1, 2], [3, 4]], np.int8),
            0,
            4,
        ),  # a last block that is not full
    ],
)
def test_dequantised_weights_are_those_of_the_formula(
    scale: np.ndarray,  # type: ignore[type-arg]
    zero_point: np.ndarray,  # type: ignore[type-arg]
    axis: int,
    block: int,
) -> None:
    quantised = np.arange(-6, 6, dtype=np.int8).reshape(6, 2)
    expected = np.empty((6, 2), dtype=np.float32)
    for row in range(6):
        for column in range(2):
            if scale.size == 1:
                place: tuple[int, ...] = (0,)
            elif scale.ndim == 1:
                place = ((row, column)[axis],)
            else:
                place = (row // block, column)
            expected[row, column] = (int(quantised[row, column]) - int(zero_point[place])) * scale[place]
    model = _graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=axis, block_size=block),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"q": quantised, "s": scale, "z": zero_point},
    )
    folded = fold_model(model.SerializeToString(), free_axes=("N",))
    assert np.array_equal(_weights(folded, "w"), expected)
    session = open_session(folded, engine="onnxruntime", precision="f32", threads=1)
    batch = np.random.default_rng(3).random((5, 6), dtype=np.float32)
    assert session.input_shape == (None, 6)
    assert np.allclose(session.run(batch)[0], batch @ expected, atol=1e-5)


def test_reshape_of_folded_weights_and_its_free_batch_are_folded_too() -> None:
    model = _graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["flat"], axis=0),
            helper.make_node("Reshape", ["flat", "shape"], ["w"]),
            helper.make_node("Reshape", ["x", "rows"], ["x3"]),
            helper.make_node("MatMul", ["x3", "w"], ["y"]),
        ],
        {
            "q": np.arange(4, dtype=np.int8),
            "s": np.array(0.5, np.float32),
            "shape": np.array([2, 2], np.int64),
            "rows": np.array([1, -1, 2], np.int64),
        },
    )
    folded = fold_model(model.SerializeToString(), free_axes=("N",))
    batch = np.random.default_rng(4).random((3, 6), dtype=np.float32)
    found = open_session(folded, engine="onnxruntime", precision="f32", threads=1).run(batch)[0]
    assert np.allclose(found, batch.reshape(3, 3, 2) @ np.array([[0, 0.5], [1, 1.5]], np.float32), atol=1e-6)


def test_folding_twice_changes_nothing() -> None:
    assert BUILTIN.detector is not None
    once = fold_model(read_bytes(BUILTIN.detector.model_path), free_axes=("N", "", "H", "W"))
    assert fold_model(once, free_axes=("N", "", "H", "W")) == once


def test_folded_sface_equals_opencv() -> None:
    assert BUILTIN.recogniser is not None
    path = BUILTIN.recogniser.model_path
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    peer = cv2.FaceRecognizerSF.create(str(path), "")
    expected = np.concatenate([peer.feature(crop) for crop in crops])
    folded = fold_model(read_bytes(path), free_axes=("N",))
    batch = np.ascontiguousarray(crops[..., ::-1].transpose(0, 3, 1, 2), dtype=np.float32)
    found = open_session(folded, engine="onnxruntime", precision="f32", threads=1).run(batch)[0]
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() > 0.99999
    operators = {node.op_type for node in onnx.load_model_from_string(folded).graph.node}
    assert "DequantizeLinear" not in operators


@pytest.mark.parametrize("height_width", [(32, 32), (96, 64), (384, 640)])
@pytest.mark.parametrize("frames", [1, 2])
def test_folded_yunet_takes_any_size_and_batch(height_width: tuple[int, int], frames: int) -> None:
    assert BUILTIN.detector is not None
    folded = fold_model(read_bytes(BUILTIN.detector.model_path), free_axes=("N", "", "H", "W"))
    session = open_session(folded, engine="onnxruntime", precision="f32", threads=1)
    outputs = session.run(np.zeros((frames, 3, *height_width), dtype=np.float32))
    cells = [height_width[0] * height_width[1] // stride**2 for stride in (8, 16, 32)]
    assert [out.shape for out in outputs[:3]] == [(frames, count, 1) for count in cells]


def test_shipped_sface_loads_in_onnx_runtime_once_its_stale_inputs_are_dropped() -> None:
    assert BUILTIN.recogniser is not None
    shipped = drop_initialiser_inputs(read_bytes(BUILTIN.recogniser.model_path))
    session = open_session(shipped, engine="onnxruntime", precision="f32", threads=1)
    assert session.input_shape == (1, 3, 112, 112)


def test_normalisation_inside_the_graph_is_seen() -> None:
    assert BUILTIN.recogniser is not None
    assert BUILTIN.detector is not None
    assert normalises_inside(read_bytes(BUILTIN.recogniser.model_path))
    assert not normalises_inside(read_bytes(BUILTIN.detector.model_path))


def test_weights_outside_of_the_file_are_refused() -> None:
    model = _graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.ones((6, 2), np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(ModelCorrupt, match="outside the ONNX file"):
        fold_model(model.SerializeToString(), free_axes=("N",))


def test_outside_weights_hidden_in_a_constant_are_refused() -> None:
    hidden = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[6, 2])
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="weights.bin")
    constant = helper.make_node("Constant", [], ["w"], value=hidden)
    model = _graph([constant, helper.make_node("MatMul", ["x", "w"], ["y"])], {})
    with pytest.raises(ModelCorrupt, match="outside the ONNX file"):
        fold_model(model.SerializeToString(), free_axes=("N",))


def test_two_real_inputs_are_refused() -> None:
    model = _graph([helper.make_node("Add", ["x", "other"], ["y"])], {}, inputs=("x", "other"))
    with pytest.raises(ModelCorrupt, match=r"x.*other"):
        fold_model(model.SerializeToString(), free_axes=("N",))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95pickle"])
def test_bytes_that_are_no_model_are_refused(content: bytes) -> None:
    with pytest.raises(ModelCorrupt, match="ONNX model"):
        fold_model(content, free_axes=())


def test_scales_that_do_not_fit_are_refused() -> None:
    model = _graph(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=2),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"q": np.ones((6, 2), np.int8), "s": np.ones((3, 5), np.float32)},
    )
    with pytest.raises(ModelCorrupt, match="scales do not fit"):
        fold_model(model.SerializeToString(), free_axes=())


def test_weights_of_a_graph_that_computes_in_integers_stay_integers() -> None:
    """Unpacked, the same file would run in float: an int8 pack would be small and no faster."""
    zero = np.array(0, np.int8)
    model = _graph(
        [
            helper.make_node("QuantizeLinear", ["x", "xs", "z"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "xs", "z"], ["xd"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
            helper.make_node("MatMul", ["xd", "w"], ["y"]),
        ],
        {"q": np.arange(-6, 6, dtype=np.int8).reshape(6, 2), "s": np.array(0.5, np.float32), "z": zero,
         "xs": np.array(0.01, np.float32)},
    )  # fmt: skip
    folded = fold_model(model.SerializeToString(), free_axes=("N",))
    graph = onnx.load_model_from_string(folded).graph
    assert [node.op_type for node in graph.node].count("DequantizeLinear") == 2
    assert _weights(folded, "q").dtype == np.int8
    session = open_session(folded, engine="onnxruntime", precision="f32", threads=1)
    batch = np.random.default_rng(3).random((5, 6), dtype=np.float32)
    weights = 0.5 * np.arange(-6, 6).reshape(6, 2)
    assert np.allclose(session.run(batch)[0], np.rint(batch / 0.01).clip(-128, 127) * 0.01 @ weights, atol=1e-3)


def test_normalisation_behind_a_quantised_input_is_seen() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "z"], ["xd"]),
        helper.make_node("Sub", ["xd", "mean"], ["centred"]),
        helper.make_node("MatMul", ["centred", "w"], ["y"]),
    ]
    values: dict[str, np.ndarray] = {  # type: ignore[type-arg]
        "xs": np.array(1, np.float32),
        "z": np.array(0, np.uint8),
        "mean": np.array(127.5, np.float32),
        "w": np.ones((6, 2), np.float32),
    }
    assert normalises_inside(_graph(nodes, values).SerializeToString())
    direct = [*nodes[:2], helper.make_node("MatMul", ["xd", "w"], ["y"])]
    assert not normalises_inside(_graph(direct, values).SerializeToString())

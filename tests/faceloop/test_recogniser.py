"""The recogniser: on graphs whose vectors are computable, and on the real ones."""

import json
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnx
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from faceloop.vision.align import align_crops
from faceloop.vision.arrays import UInt8Array
from faceloop.vision.contract import EmbeddingContract, Precision
from faceloop.vision.models import open_detector, open_recogniser
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import Recogniser
from faceloop.vision.sessions import Engine, open_session
from facestore.errors import ConfigError, DataError

BUILTIN = load_pack("builtin", accept_licence=None, insightface_root=None)
MOBILEFACENET = Path(__file__).parents[2] / "../shared/data/weights/mobilefacenet_128.onnx"
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
ENGINES = [
    ("onnxruntime", "f32"),
    ("openvino", "f32"),
    pytest.param("openvino", "bf16", marks=pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bfloat16")),
]


def _tiny(
    operator: str, *, colour: str = "RGB", mean: float = 0.0, std: float = 1.0, batch_size: int = 4
) -> Recogniser:
    """Vector of a crop: `operator` of the mean of each channel."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node(operator, ["means"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", 3])],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = EmbeddingContract(
        pack_id="tiny",
        recogniser_sha256="0" * 64,
        alignment="arcface-112-5pt",
        colour="BGR" if colour == "BGR" else "RGB",
        mean=mean,
        std=std,
        dimension=3,
        precision="f32",
    )
    session = open_session(model.SerializeToString(), engine="onnxruntime", precision="f32", threads=1)
    return Recogniser(session, contract=contract, batch_size=batch_size)


def _plain_crops(*colours_rgb: tuple[int, int, int]) -> UInt8Array:
    crops = np.empty((len(colours_rgb), 112, 112, 3), dtype=np.uint8)
    crops[:] = np.array(colours_rgb, dtype=np.uint8).reshape(-1, 1, 1, 3)
    return crops


@pytest.mark.parametrize(("colour", "expected"), [("RGB", [0.8, 0.6, 0.0]), ("BGR", [0.0, 0.6, 0.8])])
def test_crop_is_fed_in_the_colour_order_of_the_contract(colour: str, expected: list[float]) -> None:
    vectors = _tiny("Identity", colour=colour).embed(_plain_crops((80, 60, 0))).vectors
    assert vectors[0] == pytest.approx(expected)


def test_pixels_are_normalised_once() -> None:
    vectors = _tiny("Identity", mean=100.0, std=4.0).embed(_plain_crops((103, 96, 100))).vectors
    assert vectors[0] == pytest.approx([0.6, -0.8, 0.0])


def test_crop_without_a_direction_is_reported_and_hides_no_other() -> None:
    embeddings = _tiny("Identity").embed(_plain_crops((0, 0, 0), (255, 0, 0), (0, 0, 0)))
    assert embeddings.is_valid.tolist() == [False, True, False]
    assert embeddings.vectors.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_vector_that_is_not_finite_is_reported() -> None:
    """The square root of a negative mean is not a number; the logarithm of zero is infinite."""
    roots = _tiny("Sqrt", mean=100.0).embed(_plain_crops((0, 150, 150), (101, 101, 101)))
    assert roots.is_valid.tolist() == [False, True]
    assert not roots.vectors[0].any()
    assert _tiny("Log").embed(_plain_crops((0, 9, 9), (9, 9, 9))).is_valid.tolist() == [False, True]


@settings(max_examples=25, deadline=None)
@given(crops=st.integers(0, 9), batch_size=st.integers(1, 5), seed=st.integers(0, 99))
def test_every_crop_is_embedded_once_and_in_order(crops: int, batch_size: int, seed: int) -> None:
    colours = np.random.default_rng(seed).integers(1, 256, (crops, 3))
    found = _tiny("Identity", batch_size=batch_size).embed(_plain_crops(*map(tuple, colours.tolist())))
    assert found.vectors.shape == (crops, 3)
    assert np.allclose(found.vectors, colours / np.linalg.norm(colours, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((2, 112, 112, 3), np.float32),
        np.zeros((112, 112, 3), np.uint8),
        np.zeros((2, 3, 112, 112), np.uint8),
        np.zeros((2, 160, 160, 3), np.uint8),
    ],
)
def test_what_is_no_batch_of_crops_is_refused(crops: UInt8Array) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \(n, 112, 112, 3\)"):
        _tiny("Identity").embed(crops)


def test_batch_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size is 0"):
        _tiny("Identity", batch_size=0)


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_a_vector_does_not_depend_on_its_neighbours_or_on_where_a_run_is_cut(
    engine: Engine, precision: Precision
) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    whole = open_recogniser(BUILTIN, engine=engine, precision=precision, threads=1, batch_size=4)
    single = open_recogniser(BUILTIN, engine=engine, precision=precision, threads=1, batch_size=1)
    vectors = whole.embed(crops).vectors
    assert np.array_equal(vectors, single.embed(crops).vectors)
    assert np.array_equal(vectors[::-1], whole.embed(np.ascontiguousarray(crops[::-1])).vectors)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6


def test_precision_is_part_of_the_contract() -> None:
    if not HAS_BF16:
        pytest.skip("this CPU has no bfloat16")
    one = open_recogniser(BUILTIN, engine="openvino", precision="f32", threads=1, batch_size=1)
    two = open_recogniser(BUILTIN, engine="openvino", precision="bf16", threads=1, batch_size=1)
    assert one.contract.contract_id != two.contract.contract_id


def test_engines_of_one_precision_share_a_contract() -> None:
    one = open_recogniser(BUILTIN, engine="openvino", precision="f32", threads=1, batch_size=1)
    two = open_recogniser(BUILTIN, engine="onnxruntime", precision="f32", threads=1, batch_size=1)
    assert one.contract.contract_id == two.contract.contract_id


@pytest.mark.shared_data
@pytest.mark.skipif(not MOBILEFACENET.is_file(), reason="development weights are not beside the checkout")
@pytest.mark.parametrize(("engine", "precision"), ENGINES)
def test_second_recogniser_opens_as_a_folder_pack(tmp_path: Path, engine: Engine, precision: Precision) -> None:
    """Against OpenCV's own run of the file, on the six faces of the group photo."""
    (tmp_path / "mobilefacenet.onnx").write_bytes(MOBILEFACENET.read_bytes())
    manifest = {
        "manifest_version": 1,
        "pack_id": "mobilefacenet-128",
        "licence": "unclear: local only",
        "tasks": {
            "recognition": {
                "file": "mobilefacenet.onnx",
                "sha256": "93fac2c9747e612f4f491c7842563a515ee2b6c237d9fee05e96291b07ac6019",
                "kind": "arcface",
                "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128.0},
                "input_size": 112,
                "embedding_dimension": 128,
            }
        },
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    pack = load_pack(str(tmp_path), accept_licence=None, insightface_root=None)
    recogniser = open_recogniser(pack, engine=engine, precision=precision, threads=1, batch_size=4)
    photo = np.asarray(cv2.imread(str(files("insightface") / "data/images/t1.jpg")), dtype=np.uint8)
    detector = open_detector(BUILTIN, engine="onnxruntime", precision="f32", threads=1)
    crops = align_crops(photo, detector.detect(photo, long_side_px=1280).landmarks_px)
    net = cv2.dnn.readNetFromONNX(str(MOBILEFACENET))
    expected = []
    for crop in crops:
        net.setInput(cv2.dnn.blobFromImage(crop, 1 / 128, (112, 112), (127.5, 127.5, 127.5)))
        expected.append(net.forward()[0].copy())
    peers = np.stack(expected) / np.linalg.norm(expected, axis=1, keepdims=True)
    found = recogniser.embed(crops)
    assert found.is_valid.all()
    assert found.vectors.shape == (6, 128)
    assert (found.vectors * peers).sum(axis=1).min() > (0.9999 if precision == "f32" else 0.995)
    builtin = open_recogniser(BUILTIN, engine="onnxruntime", precision="f32", threads=1, batch_size=1)
    assert recogniser.contract.contract_id != builtin.contract.contract_id

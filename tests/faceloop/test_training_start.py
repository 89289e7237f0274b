"""Starts: a pack's ONNX graph as a trainable module that says what ONNX Runtime says."""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from faceloop.training.backbones.architecture import Architecture, build_backbone
from faceloop.training.start.onnx_reading import read_onnx_graph
from faceloop.training.start.starting import MIN_PARITY, start_from_pack
from faceloop.vision.fold import fold_model
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import open_session
from faceloop.vision.specs import ModelPack
from facestore.errors import ConfigError, ModelCorrupt

WEIGHTS = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilefacenet_128.onnx"
Node = onnx.NodeProto
Arrays = dict[str, NDArray[Any]]
node = helper.make_node


def _w(*shape: int, low: float = -0.4, high: float = 0.4) -> NDArray[np.float32]:
    return np.random.default_rng(list(shape)).uniform(low, high, shape).astype(np.float32)


def _model(nodes: Sequence[Node], arrays: Arrays, *, opset: int = 17, side: int = 112, outputs: int = 0) -> bytes:
    shape: list[int | str] = ["N", outputs] if outputs else []
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape or None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def _norm(name: str, channels: int) -> Arrays:
    keys = ("weight", "bias", "mean")
    return {f"{name}.{key}": _w(channels) for key in keys} | {f"{name}.var": _w(channels, low=0.5, high=2)}


def _norm_inputs(name: str, source: str) -> list[str]:
    return [source, *(f"{name}.{key}" for key in ("weight", "bias", "mean", "var"))]


FLAT = node("Flatten", ["x"], ["f"])
GRAPHS: dict[str, tuple[list[Node], Arrays, int]] = {
    "conv_with_uneven_padding": (
        [node("Conv", ["x", "w", "b"], ["y"], pads=[0, 1, 2, 1], strides=[2, 2])],
        {"w": _w(4, 3, 3, 3), "b": _w(4)},
        17,
    ),
    "conv_in_groups_and_dilated": (
        [node("Conv", ["x", "w"], ["y"], group=3, dilations=[2, 2], pads=[2, 2, 2, 2])],
        {"w": _w(6, 1, 3, 3)},
        17,
    ),
    "batch_norm_of_maps": (
        [node("BatchNormalization", _norm_inputs("n", "x"), ["y"], epsilon=1e-3)],
        _norm("n", 3),
        17,
    ),
    "batch_norm_of_vectors": (
        [
            FLAT,
            node("Gemm", ["f", "w", "b"], ["g"], alpha=0.5, beta=2.0),
            node("BatchNormalization", _norm_inputs("n", "g"), ["y"]),
        ],
        {"w": _w(192, 5), "b": _w(5)} | _norm("n", 5),
        17,
    ),
    "gemm_transposed": ([FLAT, node("Gemm", ["f", "w"], ["y"], transB=1)], {"w": _w(5, 192)}, 17),
    "matrix_product_and_bias": (
        [FLAT, node("MatMul", ["f", "w"], ["m"]), node("Add", ["m", "b"], ["y"])],
        {"w": _w(192, 5), "b": _w(5)},
        17,
    ),
    "slopes_of_channels": ([node("PRelu", ["x", "s"], ["y"])], {"s": _w(3, 1, 1)}, 17),
    "slopes_that_two_layers_share": (
        [
            node("Identity", ["s"], ["same"]),
            node("PRelu", ["x", "s"], ["p"]),
            node("Sub", ["p", "one"], ["n"]),
            node("PRelu", ["n", "same"], ["y"]),
        ],
        {"s": _w(3, 1, 1), "one": np.array(1, dtype=np.float32)},
        17,
    ),
    "one_slope": ([node("PRelu", ["x", "s"], ["y"])], {"s": _w(1)}, 17),
    "leaky_and_sigmoid": ([node("LeakyRelu", ["x"], ["l"], alpha=0.2), node("Sigmoid", ["l"], ["y"])], {}, 17),
    "clip_by_attributes": ([node("Clip", ["x"], ["y"], min=0.0, max=0.5)], {}, 10),
    "clip_by_inputs": ([node("Clip", ["x", "", "h"], ["y"])], {"h": np.array(0.25, dtype=np.float32)}, 17),
    "normalisation_inside": (
        [node("Sub", ["x", "m"], ["a"]), node("Mul", ["a", "s"], ["y"])],
        {"m": np.array([127.5], dtype=np.float32), "s": np.array([1 / 128], dtype=np.float32)},
        17,
    ),
    "constant_on_the_left": (
        [node("Sub", ["c", "x"], ["a"]), node("Div", ["d", "a"], ["y"])],
        {"c": np.array(9, dtype=np.float32), "d": _w(3, 1, 1)},
        17,
    ),
    "a_shortcut": (
        [node("Relu", ["x"], ["r"]), node("Add", ["r", "x"], ["a"]), node("Mul", ["a", "x"], ["y"])],
        {},
        17,
    ),
    "pools": (
        [
            node("AveragePool", ["x"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("GlobalAveragePool", ["p"], ["y"]),
        ],
        {},
        17,
    ),
    "shapes": (
        [
            node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
            node("Reshape", ["t", "r"], ["f"]),
            node("Identity", ["f"], ["y"]),
        ],
        {"r": np.array([-1, 192], dtype=np.int64)},
        17,
    ),
    "unit_length_at_the_end": (
        [FLAT, node("ReduceL2", ["f"], ["n"], axes=[1]), node("Div", ["f", "n"], ["d"]), node("Dropout", ["d"], ["y"])],
        {},
        17,
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_each_operator_computes_what_onnx_runtime_computes(name: str) -> None:
    nodes, arrays, opset = GRAPHS[name]
    folded = fold_model(_model(nodes, arrays, opset=opset, side=8), free_axes=("N",))
    batch = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    expected = open_session(folded, engine="onnxruntime", precision="f32", threads=1).run(batch)[0]
    read = read_onnx_graph(folded)
    stored = Architecture(kind="graph", dimension=5, arguments=read.graph.to_arguments()).to_json()
    module = build_backbone(Architecture.from_json(stored)).eval()
    module.load_state_dict(read.state)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(batch)).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "arrays", "says"),
    [
        ([node("Softplus", ["x"], ["y"])], {}, "operator :Softplus"),
        ([node("Relu", ["x"], ["r"], domain="com.vendor"), node("Relu", ["r"], ["y"])], {}, "operator com.vendor:Relu"),
        ([node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER")], {"w": _w(4, 3, 3, 3)}, "padding written out"),
        (
            [node("Reshape", ["x", "r"], ["y"])],
            {"r": np.array([3, -1], dtype=np.int64)},
            "first axis must be the batch",
        ),
        ([node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3])], {}, "moves the batch axis"),
        ([node("Gemm", ["x", "w"], ["y"], transA=1)], {"w": _w(4, 3)}, "transposes its input"),
        ([node("PRelu", ["x", "x"], ["y"])], {}, "no constant as input 1"),
    ],
)
def test_what_has_no_layer_is_refused_by_name(nodes: list[Node], arrays: Arrays, says: str) -> None:
    with pytest.raises(ModelCorrupt, match=says):
        read_onnx_graph(_model(nodes, arrays, side=8))


@pytest.fixture(scope="module")
def builtin() -> ModelPack:
    return load_pack("builtin", accept_licence=None, insightface_root=None)


def test_the_built_in_recogniser_starts_with_the_vectors_it_has(builtin: ModelPack) -> None:
    start = start_from_pack(builtin)
    assert start.parity >= MIN_PARITY
    assert start.dimension == start.architecture.dimension == 128
    assert builtin.recogniser is not None
    assert start.preprocessing == builtin.recogniser.preprocessing
    assert start.module.training
    kinds = [type(module) for module in start.module.modules()]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.PReLU), kinds.count(nn.Linear)) == (27, 27, 1)
    assert (kinds.count(nn.BatchNorm2d), kinds.count(nn.BatchNorm1d)) == (28, 1)
    start.module(torch.rand((2, 3, 112, 112)) * 255).square().sum().backward()
    assert all(value.grad is not None for value in start.module.parameters())


def test_batch_norms_of_a_start_can_be_frozen(tmp_path: Path) -> None:
    pack = _pack(tmp_path, _small(), dimension=6)
    free, frozen = (start_from_pack(pack, is_batch_norm_frozen=choice).module for choice in (False, True))
    learning = [{name for name, value in module.named_parameters() if value.requires_grad} for module in (free, frozen)]
    assert learning[0] - learning[1] == {"layers.001_batch_norm.weight", "layers.001_batch_norm.bias"}
    assert set(free.state_dict()) == set(frozen.state_dict())
    frozen(torch.ones((2, 3, 112, 112)))
    assert all(torch.equal(value, free.state_dict()[name]) for name, value in frozen.state_dict().items())


@pytest.mark.shared_data
@pytest.mark.skipif(not WEIGHTS.is_file(), reason="the development data does not lie beside the checkout")
def test_a_mobilefacenet_with_folded_batch_norms_starts_with_its_vectors(tmp_path: Path) -> None:
    pack = _pack(tmp_path, WEIGHTS.read_bytes(), dimension=128)
    start = start_from_pack(pack)
    assert start.parity >= MIN_PARITY
    assert sum(isinstance(module, nn.Conv2d) for module in start.module.modules()) == 51


def _pack(folder: Path, model: bytes, *, dimension: int) -> ModelPack:
    (folder / "model.onnx").write_bytes(model)
    task = {
        "file": "model.onnx",
        "sha256": sha256(model).hexdigest(),
        "kind": "arcface",
        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128},
        "input_size": 112,
        "embedding_dimension": dimension,
    }
    manifest = {"manifest_version": 1, "pack_id": "made", "licence": "MIT", "tasks": {"recognition": task}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return load_pack(str(folder), accept_licence=None, insightface_root=None)


def _small() -> bytes:
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[16, 16]),
        node("BatchNormalization", _norm_inputs("n", "c"), ["b"]),
        node("Flatten", ["b"], ["f"]),
        node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    return _model(nodes, {"w": _w(4, 3, 16, 16), "g": _w(6, 196)} | _norm("n", 4), outputs=6)


def test_a_candidate_is_rebuilt_from_its_own_files_not_from_its_graph(tmp_path: Path) -> None:
    pack = _pack(tmp_path, _small(), dimension=6)
    first = start_from_pack(pack)
    (tmp_path / "architecture.json").write_text(first.architecture.to_json())
    state = {name: value.contiguous() for name, value in first.module.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    again = start_from_pack(pack)
    assert again.architecture == first.architecture
    assert all(torch.equal(value, state[name]) for name, value in again.module.state_dict().items())


def _of_another_run(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.flip(0) if value.ndim else value for name, value in state.items()}


def _lacking_a_layer(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(state.items())[1:])


@pytest.mark.parametrize(
    ("change", "says"), [(_of_another_run, "differs from its ONNX"), (_lacking_a_layer, "does not fit")]
)
def test_weights_that_are_not_the_candidates_are_refused(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], says: str
) -> None:
    pack = _pack(tmp_path, _small(), dimension=6)
    first = start_from_pack(pack)
    (tmp_path / "architecture.json").write_text(first.architecture.to_json())
    state = change(first.module.state_dict())
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelCorrupt, match=says):
        start_from_pack(pack)


def test_a_pack_without_a_recogniser_cannot_start_a_training(builtin: ModelPack) -> None:
    only_detects = ModelPack(
        pack_id="detector", licence=builtin.licence, ref=builtin.ref, detector=builtin.detector, recogniser=None
    )
    with pytest.raises(ConfigError, match="no recogniser"):
        start_from_pack(only_detects)

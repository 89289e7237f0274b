"""Forms of a graph: half precision, integers, fewer weights, fewer channels."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from faceloop.export.canonical import OPSET, RecogniserGraph, canonical_graph, checked_graph
from faceloop.export.channels import prunable_chains, prune_channels
from faceloop.export.precisions import to_float16, to_int8
from faceloop.export.pruning import Masks, magnitude_masks, prune, sparsity_at
from faceloop.vision.arrays import Float32Array
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import open_session
from facestore.errors import ConfigError, DataError, ModelCorrupt

from .export_world import DIMENSION, coloured, tiny_candidate, tiny_graph, tiny_model


def _pictures() -> Float32Array:
    pictures = np.stack([coloured(who, n) for who in range(4) for n in range(2)]).transpose(0, 3, 1, 2)
    return np.asarray((pictures - 127.5) / 128, dtype=np.float32)


INPUTS = _pictures()


def _vectors(graph: RecogniserGraph) -> Float32Array:
    session = open_session(graph.onnx_bytes, engine="onnxruntime", precision="f32", threads=1)
    raw = session.run(np.ascontiguousarray(INPUTS))[0]
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


def _cosines(graph: RecogniserGraph) -> Float32Array:
    return np.asarray((_vectors(graph) * _vectors(tiny_graph())).sum(axis=1), dtype=np.float32)


def _loaded(graph: RecogniserGraph) -> onnx.ModelProto:
    return onnx.load_model_from_string(graph.onnx_bytes)


def test_a_pack_becomes_canonical_with_a_free_batch_and_a_stated_opset(tmp_path: Path) -> None:
    folder = tiny_candidate(tmp_path / "old", tiny_model(opset=13, batch=1))
    graph = canonical_graph(load_pack(str(folder), accept_licence=None, insightface_root=None))
    assert graph.opset == OPSET
    assert (graph.input_name, graph.output_name, graph.dimension) == ("image", "vector", DIMENSION)
    assert np.allclose(_cosines(graph), 1, atol=1e-5), "eight inputs through what was exported for one"


def test_a_graph_of_another_shape_is_no_recogniser() -> None:
    with pytest.raises(ModelCorrupt, match="the pack says 17"):
        checked_graph(tiny_model(), dimension=17)
    with pytest.raises(ModelCorrupt, match="batch axis"):
        checked_graph(tiny_model(batch=1), dimension=DIMENSION)
    broken = tiny_model()
    broken.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelCorrupt, match="checker refuses"):
        checked_graph(broken, dimension=DIMENSION)


def test_half_precision_keeps_float32_outside_and_direction_inside() -> None:
    half = to_float16(tiny_graph())
    model = _loaded(half)
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) > 1} == {
        onnx.TensorProto.FLOAT16
    }
    assert _cosines(half).min() > 0.9999


def test_integers_are_symmetric_signed_and_per_channel_with_float_biases() -> None:
    whole = to_int8(tiny_graph(), iter([INPUTS]))
    model = _loaded(whole)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = [node.input for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert inputs
    for _, scale, zero in inputs:
        assert (tensors[zero] == 0).all()
        assert tensors[zero].dtype == np.int8
        assert (tensors[scale] > 0).all()
    assert any(tensors[scale].size == 8 for _, scale, _ in inputs)
    assert not any(value.dtype == np.int32 for value in tensors.values())
    assert _cosines(whole).min() > 0.9


def test_first_layers_may_stay_in_float() -> None:
    def quantised(graph: RecogniserGraph) -> int:
        return sum(tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
                   for tensor in _loaded(graph).graph.initializer)  # fmt: skip

    every = to_int8(tiny_graph(), iter([INPUTS]))
    spared = to_int8(tiny_graph(), iter([INPUTS]), float_layers=2)
    assert quantised(every) - quantised(spared) == 2
    assert _cosines(spared).mean() >= _cosines(every).mean() - 1e-4


def test_nothing_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing to calibrate int8 on"):
        to_int8(tiny_graph(), iter([]))


@given(st.floats(0, 0.95), st.sampled_from(["global", "layer"]))
def test_masks_drop_the_asked_share_and_only_the_smallest(sparsity: float, scope: str) -> None:
    masks = magnitude_masks(tiny_graph(), sparsity, scope="layer" if scope == "layer" else "global")
    total = sum(mask.size for mask in masks.kept.values())
    assert abs(masks.sparsity - sparsity) <= (len(masks.kept) + 1) / total
    weights = {t.name: np.abs(numpy_helper.to_array(t)) for t in tiny_model().graph.initializer}
    groups = [[name] for name in masks.kept] if scope == "layer" else [list(masks.kept)]
    for names in groups:
        gone = np.concatenate([weights[name][~masks.kept[name]] for name in names])
        left = np.concatenate([weights[name][masks.kept[name]] for name in names])
        assert not len(gone) or gone.max() <= left.min()


def test_first_and_depthwise_layers_keep_their_weights() -> None:
    assert set(magnitude_masks(tiny_graph(), 0.5, scope="global").kept) == {"w2", "w3", "w4"}


def test_pruned_weights_are_zero_and_the_rest_is_untouched() -> None:
    masks = magnitude_masks(tiny_graph(), 0.4, scope="layer")
    pruned = {t.name: numpy_helper.to_array(t) for t in _loaded(prune(tiny_graph(), masks)).graph.initializer}
    for tensor in tiny_model().graph.initializer:
        before = numpy_helper.to_array(tensor)
        kept = masks.kept.get(tensor.name, np.ones(before.shape, dtype=np.bool_))
        assert (pruned[tensor.name] == np.where(kept, before, 0)).all()


def test_a_mask_of_another_graph_is_refused() -> None:
    with pytest.raises(DataError, match="fits no weight"):
        prune(tiny_graph(), Masks(kept={"w9": np.ones((2, 2), dtype=np.bool_)}))
    with pytest.raises(ConfigError, match="sparsity is"):
        magnitude_masks(tiny_graph(), 1.0, scope="layer")


@given(st.integers(1, 50), st.floats(0, 0.99))
def test_the_schedule_climbs_from_nothing_to_the_end(steps: int, final: float) -> None:
    course = [sparsity_at(step, steps=steps, final=final) for step in range(steps + 1)]
    assert course[0] == 0
    assert course[-1] == pytest.approx(final)
    assert course == sorted(course)


def test_channels_leave_only_where_nobody_else_needs_them() -> None:
    """Through the slope and the depthwise layer into `second`; not into the residual sum behind it."""
    chains = prunable_chains(tiny_model())
    assert [(chain.first, chain.depthwise, chain.last) for chain in chains] == [("w0", ("w1",), "w2")]


def test_fewer_channels_make_a_smaller_graph_that_runs() -> None:
    pruned = prune_channels(tiny_graph(), 0.5)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in _loaded(pruned).graph.initializer}
    assert (shapes["w0"], shapes["slope"], shapes["w1"], shapes["w2"]) == (
        (4, 3, 3, 3),
        (4, 1, 1),
        (4, 1, 3, 3),
        (8, 4, 1, 1),
    )
    assert np.isfinite(_vectors(pruned)).all()


def test_channels_that_carry_nothing_can_leave_without_a_trace() -> None:
    model = tiny_model()
    for tensor in model.graph.initializer:
        if tensor.name == "w2":
            weight = numpy_helper.to_array(tensor).copy()
            weight[:, [1, 4, 6]] = 0
            tensor.CopyFrom(numpy_helper.from_array(weight, "w2"))
    graph = checked_graph(model, dimension=DIMENSION)
    pruned = prune_channels(graph, 3 / 8)
    assert np.allclose(_vectors(pruned), _vectors(graph), atol=1e-5)
    assert len(pruned.onnx_bytes) < len(graph.onnx_bytes)


def test_at_least_one_channel_stays() -> None:
    pruned = prune_channels(tiny_graph(), 0.99)
    assert next(tuple(t.dims) for t in _loaded(pruned).graph.initializer if t.name == "w0") == (1, 3, 3, 3)
    with pytest.raises(ConfigError, match="share of channels"):
        prune_channels(tiny_graph(), 1.0)

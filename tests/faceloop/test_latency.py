"""How long a candidate takes beside the current model: the median ratio, measured when the gate judges."""

import json
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.promotion.latency import Latency, latency_to_judge, measure_latency
from faceloop.promotion.model_registry import judge, opened_models, promote_model
from faceloop.runner import Workspace, run_stage
from faceloop.vision.arrays import Float32Array
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.model_files import sha256_of
from faceloop.vision.recogniser import Recogniser
from faceloop.vision.sessions import Shape
from facestore.errors import StageError
from facestore.publish import fresh_partial, publish

from .evaluation_world import evaluated


class _Taking:
    """A session that takes as long as it is told, by a clock of its own."""

    input_shape: Shape = (None, 3, 112, 112)
    output_shapes: tuple[Shape, ...] = ((None, 4),)

    def __init__(self, now_s: list[float], seconds: Iterator[float]) -> None:
        self.now_s, self.seconds = now_s, seconds

    def run(self, batch: Float32Array) -> list[Float32Array]:
        self.now_s[0] += next(self.seconds)
        return [np.ones((len(batch), 4), np.float32)]


def _measured(candidate: Iterator[float], current: Iterator[float]) -> Latency:
    now_s = [0.0]
    contract = EmbeddingContract(
        pack_id="p", recogniser_sha256="0", alignment="a", colour="RGB", mean=0, std=1, dimension=4, precision="f32"
    )
    models = [Recogniser(_Taking(now_s, seconds), contract=contract, batch_size=2) for seconds in (candidate, current)]
    return measure_latency(*models, batch=2, clock=lambda: now_s[0])


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_the_ratio_is_that_of_what_each_takes_and_the_first_run_does_not_count(ours: float, theirs: float) -> None:
    found = _measured(chain([1000.0], repeat(ours)), repeat(theirs))
    assert found.ratio == pytest.approx(ours / theirs, abs=1e-3)
    assert found.candidate_ms == pytest.approx(1000 * ours, rel=1e-3)


def test_a_machine_that_stalls_now_and_then_does_not_change_the_class() -> None:
    stalling = chain([1.0], *([2.0, 2.0, 50.0] for _ in range(9)))
    assert _measured(stalling, repeat(1.0)).ratio == 2.0


def _wide(folder: Path, width: int) -> None:
    """A recogniser that convolves the whole picture with so many filters: honest work."""
    folder.mkdir(parents=True)
    weight = np.random.default_rng(width).standard_normal((width, 3, 9, 9)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["maps"], kernel_shape=[9, 9]),
        helper.make_node("AveragePool", ["maps"], ["mean"], kernel_shape=[104, 104]),
        helper.make_node("Flatten", ["mean"], ["vector"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in (("pixels", (3, 112, 112)), ("vector", (width,)))
    ]
    graph = helper.make_graph(nodes, "wide", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    recognition = {
        "file": "model.onnx", "sha256": sha256_of((folder / "model.onnx").read_bytes()), "kind": "arcface",
        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 127.5}, "input_size": 112,
        "embedding_dimension": width,
    }  # fmt: skip
    manifest = {"manifest_version": 1, "pack_id": f"wide-{width}", "licence": "none",
                "tasks": {"recognition": recognition}}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The candidate convolves where the current model takes means, and has been evaluated."""
    work = evaluated(
        tmp_path_factory.mktemp("slower"),
        "loop.model_gate={needs_gain: false, allowed_loss: 1.0, allowed_slice_loss: 1.0, max_latency_ratio: 1.0}",
    )
    staging = fresh_partial(work.path("candidate"), keep=False)
    staging.rmdir()
    _wide(staging, 32)
    publish(work.path("candidate"), stage="train", run_key="wide", counts={}, inputs={})
    run_stage(work, "evaluate")
    return work


def test_a_candidate_that_works_harder_is_measured_as_slower_and_is_not_promoted(slower: Workspace) -> None:
    took = judge(slower)[2].latency
    assert took is not None
    assert took.ratio > 1
    floors = section(slower.tree, "loop", LoopParams).model_gate
    with opened_models(slower) as models, pytest.raises(StageError, match="times as long as the current model's"):
        promote_model(slower, models, floors, by="ann", model_id=None, revision=None)
    assert latency_to_judge(evaluated(slower.root.parent / "other")) is None, "no class is asked for by default"

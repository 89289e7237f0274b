"""Sessions: both engines compute the same tiny graph, and say clearly what they cannot do."""

import subprocess
import sys
from typing import get_args

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceloop.vision.contract import Precision
from faceloop.vision.sessions import Engine, Provider, open_session, require_precision
from facestore.errors import ConfigError, ModelCorrupt

WEIGHTS = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
HAS_BF16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
ENGINES = [
    ("onnxruntime", "f32", 1e-5),
    ("openvino", "f32", 1e-5),
    pytest.param("openvino", "bf16", 0.1, marks=pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bfloat16")),
]


def _model() -> bytes:
    """y = x @ WEIGHTS, z = y + 1, for any number of rows."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "one"], ["z"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in "yz"],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.array([1], np.float32), "one")],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _batch(rows: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(rows).normal(size=(rows, 8)).astype(np.float32)


@pytest.mark.parametrize(("engine", "precision", "tolerance"), ENGINES)
def test_engine_gives_all_outputs_in_the_order_of_the_graph(
    engine: Engine, precision: Precision, tolerance: float
) -> None:
    session = open_session(_model(), engine=engine, precision=precision, threads=1)
    assert session.input_shape == (None, 8)
    assert session.output_shapes == ((None, 3), (None, 3))
    for rows in (1, 5, 2):
        batch = _batch(rows)
        product, plus_one = session.run(batch)
        assert product.dtype == plus_one.dtype == np.float32
        assert np.allclose(product, batch @ WEIGHTS, atol=tolerance)
        assert np.allclose(plus_one, batch @ WEIGHTS + 1, atol=tolerance)


@pytest.mark.parametrize(("engine", "precision", "tolerance"), ENGINES)
def test_a_result_survives_the_next_run(engine: Engine, precision: Precision, tolerance: float) -> None:
    session = open_session(_model(), engine=engine, precision=precision, threads=1)
    first = session.run(_batch(4))[0]
    kept = first.copy()
    session.run(_batch(4) * 100)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(("engine", "precision", "tolerance"), ENGINES)
def test_session_does_not_touch_its_input(engine: Engine, precision: Precision, tolerance: float) -> None:
    batch = _batch(3)
    open_session(_model(), engine=engine, precision=precision, threads=1).run(batch)
    assert np.array_equal(batch, _batch(3))


@pytest.mark.parametrize("engine", get_args(Engine))
def test_wrong_batch_shape_is_refused_with_the_engines_reason(engine: Engine) -> None:
    session = open_session(_model(), engine=engine, precision="f32", threads=1)
    with pytest.raises(ModelCorrupt, match=engine):
        session.run(np.zeros((2, 7), dtype=np.float32))


@pytest.mark.parametrize("engine", get_args(Engine))
def test_bytes_that_are_no_model_are_refused(engine: Engine) -> None:
    with pytest.raises(ModelCorrupt, match=engine):
        open_session(b"not a model", engine=engine, precision="f32", threads=1)


@pytest.mark.parametrize(
    ("engine", "precision", "provider"),
    [
        ("onnxruntime", "bf16", "cpu"),
        ("openvino", "f32", "cuda"),
        ("openvino", "int8", "cpu"),
        ("torch", "f32", "cpu"),
        ("onnxruntime", "f32", "rocm"),
    ],
)
def test_combination_that_is_not_offered_is_named(engine: Engine, precision: Precision, provider: Provider) -> None:
    with pytest.raises(ConfigError, match=f"{engine}.*{precision}.*{provider}"):
        open_session(_model(), engine=engine, precision=precision, threads=1, provider=provider)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_missing_gpu_provider_is_a_config_error_before_any_work(provider: Provider) -> None:
    import onnxruntime

    if any(name.lower().startswith(provider) for name in onnxruntime.get_available_providers()):
        pytest.skip("this onnxruntime has the provider")
    with pytest.raises(ConfigError, match=r"set provider to 'cpu'.*gpu"):
        open_session(_model(), engine="onnxruntime", precision="f32", threads=1, provider=provider)


def test_bf16_on_a_cpu_without_it_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="set precision to 'f32'"):
        require_precision("bf16", capabilities=["FP32", "INT8"])
    require_precision("f32", capabilities=["FP32", "INT8"])
    require_precision("bf16", capabilities=["FP32", "BF16"])


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match="threads"):
        open_session(_model(), engine="onnxruntime", precision="f32", threads=threads)


_DROPPED_ELSEWHERE = """
import signal, sys, threading
from faceloop.vision.models import open_recogniser
from faceloop.vision.packs import load_pack

pack = load_pack("builtin", accept_licence=None, insightface_root=None)
held = [open_recogniser(pack, engine="openvino", precision="f32", threads=1, batch_size=1)]
last = threading.Thread(target=held.clear)
last.start()
last.join()
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_signal_after_a_session_was_dropped_by_another_thread_is_heard() -> None:
    """OpenVINO's plugin gives the first thread a signal stack, and takes its memory away when it is unloaded."""
    done = subprocess.run([sys.executable, "-c", _DROPPED_ELSEWHERE], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr

"""How a graph is executed: one protocol, two engines. Home of `onnxruntime` and `openvino`.

What a graph means (preprocessing, decoding) is the business of the detectors and of the recogniser.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from faceloop.vision.arrays import Float32Array
from faceloop.vision.contract import Precision
from facestore.errors import ConfigError, ModelCorrupt

Engine = Literal["onnxruntime", "openvino"]
Provider = Literal["cpu", "cuda", "tensorrt"]
T = TypeVar("T")
Shape = tuple[int | None, ...]  # None: any size

_ORT_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", {}),
    # TF32 would round the inputs of every product to 10 bits: not the f32 that the contract names.
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "tensorrt": ("TensorrtExecutionProvider", {"trt_fp16_enable": "0", "trt_int8_enable": "0"}),
}


class InferenceSession(Protocol):
    """One loaded graph with one float32 input; not shared between threads."""

    @property
    def input_shape(self) -> Shape: ...

    @property
    def output_shapes(self) -> tuple[Shape, ...]: ...

    def run(self, batch: Float32Array) -> list[Float32Array]:
        """All outputs, in the graph's order, for one C-contiguous float32 batch of `input_shape`.

        Raises ModelCorrupt where the engine refuses the batch.
        """
        ...


class OnnxRuntimeSession:
    """ONNX Runtime on a named provider, float32."""

    def __init__(self, model_bytes: bytes, *, threads: int, provider: Provider) -> None:
        import onnxruntime  # engines are loaded late: most commands never run a graph

        name, options = _ORT_PROVIDERS[provider]
        available = onnxruntime.get_available_providers()
        if name not in available:
            raise ConfigError(
                f"provider {provider!r} needs {name}, this onnxruntime has {', '.join(available)}; "
                "set provider to 'cpu', or put onnxruntime-gpu in place of onnxruntime on a machine with that device"
            )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Spinning threads take the other core from the decoder that feeds them.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = _ask(
            "onnxruntime",
            lambda: onnxruntime.InferenceSession(model_bytes, settings, providers=[(name, options)]),
        )
        if self._session.get_providers()[0] != name:
            raise ConfigError(
                f"provider {provider!r} is installed, but {name} did not start on this machine "
                "(ONNX Runtime fell back to the CPU); check driver and libraries, or set provider to 'cpu'"
            )
        self._input_name = self._session.get_inputs()[0].name
        self.input_shape: Shape = _static_sizes(self._session.get_inputs()[0].shape)
        self.output_shapes: tuple[Shape, ...] = tuple(
            _static_sizes(value.shape) for value in self._session.get_outputs()
        )

    def run(self, batch: Float32Array) -> list[Float32Array]:
        return _ask(
            "onnxruntime",
            lambda: [np.asarray(out) for out in self._session.run(None, {self._input_name: batch})],
        )


@cache
def _openvino_core() -> Any:
    """One for the process, never unloaded: its plugin gives the first thread a signal stack, and frees it in whichever
    thread drops the last session; the next signal would then end the process (2026.4)."""
    import openvino

    return openvino.Core()


class OpenVinoSession:
    """OpenVINO on the CPU with its precision pinned; left alone, it picks bfloat16 where the CPU has it."""

    def __init__(self, model_bytes: bytes, *, threads: int, precision: Precision) -> None:
        core = _openvino_core()
        require_precision(precision, capabilities=core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # Pinned, every worker process of a machine would sit on the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        model = _ask("openvino", lambda: core.read_model(model_bytes, b""))
        compiled = _ask("openvino", lambda: core.compile_model(model, "CPU", settings))
        self._request: Any = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)
        self.input_shape: Shape = _partial_sizes(compiled.input(0).partial_shape)
        self.output_shapes: tuple[Shape, ...] = tuple(_partial_sizes(o.partial_shape) for o in compiled.outputs)

    def run(self, batch: Float32Array) -> list[Float32Array]:
        _ask("openvino", lambda: self._request.infer([batch], share_inputs=True))
        # Copied: the request reuses its output memory at the next call.
        return [self._request.get_output_tensor(i).data.copy() for i in range(self._outputs)]


def require_precision(precision: Precision, *, capabilities: Sequence[str]) -> None:
    """Raise ConfigError for bf16 on a CPU whose OpenVINO `capabilities` lack it (it would run as f32, unsaid)."""
    if precision == "bf16" and "BF16" not in capabilities:
        raise ConfigError(
            f"precision 'bf16' needs a CPU with AVX512-BF16 or AMX, this one has {', '.join(capabilities)}; "
            "set precision to 'f32' (another embedding contract: embed all faces again)"
        )


def open_session(
    model_bytes: bytes,
    *,
    engine: Engine,
    precision: Precision,
    threads: int,
    provider: Provider = "cpu",
) -> InferenceSession:
    """Load a serialised single-file ONNX model.

    Raises ConfigError for an engine, precision, provider or thread count that this machine or engine does not
    offer, ModelCorrupt for a model that the engine refuses.
    """
    if threads < 1:
        raise ConfigError(f"threads is {threads}; set it to 1 or more")
    match engine, precision, provider:
        case "onnxruntime", "f32", "cpu" | "cuda" | "tensorrt":
            return OnnxRuntimeSession(model_bytes, threads=threads, provider=provider)
        case "openvino", "f32" | "bf16", "cpu":
            return OpenVinoSession(model_bytes, threads=threads, precision=precision)
        case _:
            raise ConfigError(
                f"engine {engine!r} with precision {precision!r} and provider {provider!r} is not offered; use "
                "onnxruntime with f32 on cpu, cuda or tensorrt, or openvino with f32 or bf16 on cpu"
            )


def _ask(engine: str, action: Callable[[], T]) -> T:
    """Engines raise bare RuntimeError or a class of their own for anything; make it ours."""
    try:
        return action()
    except Exception as error:
        raise ModelCorrupt(
            f"{engine} refuses the model or its input: {str(error).strip()[:300]}; "
            "check the file against its pack, and the manifest's kind and sizes"
        ) from error


def _static_sizes(shape: list[Any]) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _partial_sizes(shape: Any) -> Shape:
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)

"""The precision step, on the ONNX: TensorRT 11 has neither precision flags nor calibrators, so both happen here.

float16: weights and inner values in half precision, input and output stay float32.
int8: static Q/DQ, symmetric, signed weights and activations, scales per channel, biases in float. One file that
TensorRT takes (it refuses zero points and int32 biases) and that OpenVINO runs on its integer kernels.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.quieter import quiet_logging
from faceloop.vision.arrays import Float32Array
from facestore.errors import DataError


def to_float16(graph: RecogniserGraph) -> RecogniserGraph:
    """Half precision inside, float32 outside. Values that half precision cannot hold are clipped to its range."""
    from onnxconverter_common import float16  # type: ignore[import-untyped]

    model = onnx.load_model_from_string(graph.onnx_bytes)
    with warnings.catch_warnings():
        # Told for each weight below 1e-7, which is all but zero; the parity gate says whether it mattered.
        warnings.filterwarnings("ignore", message="the float32 number .* will be truncated")
        half = float16.convert_float_to_float16(model, keep_io_types=True)
    return checked_graph(half, dimension=graph.dimension)


def to_int8(graph: RecogniserGraph, batches: Iterable[Float32Array], *, float_layers: int = 0) -> RecogniserGraph:
    """Quantise by the least and greatest value that each tensor takes over `batches`, (n, 3, 112, 112) float32 each.

    `float_layers`: so many of the first layers with weights stay in float. Batches are taken one at a time.
    Raises DataError for no batch.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory(prefix="faceloop-int8-") as name, quiet_logging():
        whole, ready, done = (Path(name) / file for file in ("whole.onnx", "ready.onnx", "int8.onnx"))
        whole.write_bytes(graph.onnx_bytes)
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(done),
            _Reader(graph.input_name, batches),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_first_layers(onnx.load(str(ready)), float_layers),
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        model = onnx.load(str(done))
    return checked_graph(model, dimension=graph.dimension)


def _first_layers(model: onnx.ModelProto, count: int) -> list[str]:
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")][:count]


class _Reader:
    """What ONNX Runtime's calibrator pulls its inputs from (its `CalibrationDataReader`, by its one method)."""

    def __init__(self, input_name: str, batches: Iterable[Float32Array]) -> None:
        self._input_name = input_name
        self._batches: Iterator[Float32Array] = iter(batches)
        self._taken = 0

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            if not self._taken:
                raise DataError("nothing to calibrate int8 on; raise export.calibration.count")
            return None
        self._taken += 1
        return {self._input_name: batch}

"""The last step as an ONNX graph: a recogniser's raw vectors to unit vectors, with the contract they are under."""

import numpy as np
from onnx import TensorProto

from faceloop.export.triton_tape import Tape, float32_tensor, tensor
from faceloop.vision.contract import EmbeddingContract

_MIN_NORM = 1e-6  # as in faceloop.vision.recogniser: below, a vector has no direction


def unit_graph(contract: EmbeddingContract) -> bytes:
    """VECTORS float32 (n, dimension) to EMBEDDINGS of unit length, all zero where there is no direction, and
    CONTRACT (n, 1): the id of the embedding contract as text, so that no consumer mixes vectors of two models."""
    tape = Tape("unit_")
    exact = tape.cast("VECTORS", TensorProto.DOUBLE)
    norm = tape.add("ReduceL2", exact, tape.int64(1), keepdims=1)
    is_sound = tape.add("Greater", norm, tape.float64(_MIN_NORM))
    is_sound = tape.add("And", is_sound, tape.add("Less", norm, tape.float64(float("inf"))))
    unit = tape.cast(tape.add("Div", exact, norm), TensorProto.FLOAT)
    tape.named("Where", "EMBEDDINGS", is_sound, unit, tape.float32(0.0))
    rows = tape.add("Concat", tape.size_of("VECTORS", 0), tape.int64(1), axis=0)
    tape.named("Expand", "CONTRACT", tape.constant(np.array([[contract.contract_id]], dtype=object)), rows)
    outputs = [
        float32_tensor("EMBEDDINGS", "faces", contract.dimension),
        tensor("CONTRACT", TensorProto.STRING, ("faces", 1)),
    ]
    return tape.model("face_unit", [float32_tensor("VECTORS", "faces", contract.dimension)], outputs)

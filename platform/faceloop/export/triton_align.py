"""Alignment as an ONNX graph: the crop that `faceloop.vision.align` cuts, without OpenCV and without Python.

The similarity transform is the least-squares one (Umeyama, TPAMI 1991). In the plane it has a closed form without a
singular value decomposition: with points as complex numbers it is a linear regression, a = Σ target · conj(source) /
Σ |source|², all of them centred. Source coordinates are rounded to 1/32 px as OpenCV's `warpAffine` rounds them.
"""

import numpy as np
from onnx import TensorProto

from faceloop.export.triton_tape import Tape, float32_tensor, image_tensor
from faceloop.vision.align import ARCFACE_TEMPLATE_PX, CROP_SIDE_PX
from faceloop.vision.contract import EmbeddingContract

_STEPS_PER_PX = 32.0  # of OpenCV's table of bilinear weights
_FINE_STEPS = 1024.0  # of its coordinates before that
_LEAST_SPREAD = 1e-12  # landmarks on one point give a black crop, never a division by zero


def align_graph(contract: EmbeddingContract) -> bytes:
    """IMAGE uint8 (h, w, 3) RGB and LANDMARKS float32 (n, 5, 2) px to CROPS float32 (n, 3, 112, 112).

    Crops are what the recogniser of `contract` is fed: its colour order, `(x - mean) / std`; black outside.
    """
    tape = Tape("align_")
    real, imaginary, shift_x, shift_y = _transform(tape)
    column, row = _source_px(tape, real, imaginary, shift_x, shift_y)
    crops = _sampled(tape, column, row)
    if contract.colour == "BGR":
        crops = tape.add("Gather", crops, tape.int64(2, 1, 0), axis=1)
    if (contract.mean, contract.std) != (0.0, 1.0):
        crops = tape.add("Sub", crops, tape.float32(contract.mean))
        crops = tape.add("Div", crops, tape.float32(contract.std))
    tape.named("Identity", "CROPS", crops)
    inputs = [image_tensor(), float32_tensor("LANDMARKS", "faces", 5, 2)]
    return tape.model("face_align", inputs, [float32_tensor("CROPS", "faces", 3, CROP_SIDE_PX, CROP_SIDE_PX)])


def _transform(tape: Tape) -> tuple[str, str, str, str]:
    """Real and imaginary part of the rotation and scale, and the shift: each float64 (n, 1)."""
    points = tape.cast("LANDMARKS", TensorProto.DOUBLE)
    centre = tape.add("ReduceMean", points, tape.int64(1), keepdims=1)  # (n, 1, 2)
    centred = tape.add("Sub", points, centre)
    x, y = _parts(tape, centred)
    target = ARCFACE_TEMPLATE_PX.astype(np.float64)
    target_centre = target.mean(axis=0)
    target_x, target_y = (tape.constant((target - target_centre)[None, :, axis]) for axis in (0, 1))
    spread = _sum(tape, tape.add("Add", tape.add("Mul", x, x), tape.add("Mul", y, y)))
    spread = tape.add("Max", spread, tape.float64(_LEAST_SPREAD))
    along = tape.add("Add", tape.add("Mul", target_x, x), tape.add("Mul", target_y, y))
    across = tape.add("Sub", tape.add("Mul", target_y, x), tape.add("Mul", target_x, y))
    real = tape.add("Div", _sum(tape, along), spread)
    imaginary = tape.add("Div", _sum(tape, across), spread)
    centre_x, centre_y = _parts(tape, centre)
    turned_x = tape.add("Sub", tape.add("Mul", real, centre_x), tape.add("Mul", imaginary, centre_y))
    turned_y = tape.add("Add", tape.add("Mul", imaginary, centre_x), tape.add("Mul", real, centre_y))
    shift_x = tape.add("Sub", tape.float64(float(target_centre[0])), turned_x)
    shift_y = tape.add("Sub", tape.float64(float(target_centre[1])), turned_y)
    return real, imaginary, shift_x, shift_y


def _parts(tape: Tape, points: str) -> tuple[str, str]:
    """x and y of (n, k, 2): each (n, k)."""
    first, second = (tape.add("Gather", points, tape.constant(np.array(axis, np.int64)), axis=2) for axis in (0, 1))
    return first, second


def _sum(tape: Tape, values: str) -> str:
    return tape.add("ReduceSum", values, tape.int64(1), keepdims=1)


def _source_px(tape: Tape, real: str, imaginary: str, shift_x: str, shift_y: str) -> tuple[str, str]:
    """Where in the picture each pixel of the crop comes from: column and row, float64 (n, 112, 112)."""
    size = tape.add("Add", tape.add("Mul", real, real), tape.add("Mul", imaginary, imaginary))
    size = tape.add("Max", size, tape.float64(_LEAST_SPREAD))
    real, imaginary = tape.add("Div", real, size), tape.add("Div", imaginary, size)
    back_x = tape.add("Neg", tape.add("Add", tape.add("Mul", real, shift_x), tape.add("Mul", imaginary, shift_y)))
    back_y = tape.add("Sub", tape.add("Mul", imaginary, shift_x), tape.add("Mul", real, shift_y))
    pixels = tape.constant(np.arange(CROP_SIDE_PX, dtype=np.float64)[None])
    column = _stepped(
        tape,
        tape.add("Mul", real, pixels),
        tape.add("Add", tape.add("Mul", imaginary, pixels), back_x),
    )
    row = _stepped(
        tape,
        tape.add("Neg", tape.add("Mul", imaginary, pixels)),
        tape.add("Add", tape.add("Mul", real, pixels), back_y),
    )
    return column, row


def _stepped(tape: Tape, by_column: str, by_row: str) -> str:
    """The sum of (n, 112) over columns and (n, 112) over rows, on OpenCV's grid of 1/32 px."""
    fine = tape.float64(_FINE_STEPS)
    across = tape.add("Unsqueeze", tape.add("Round", tape.add("Mul", by_column, fine)), tape.int64(1))
    down = tape.add("Unsqueeze", tape.add("Round", tape.add("Mul", by_row, fine)), tape.int64(2))
    half_step = tape.float64(_FINE_STEPS / _STEPS_PER_PX / 2)
    steps = tape.add("Add", tape.add("Add", across, down), half_step)
    whole = tape.add("Floor", tape.add("Div", steps, tape.float64(_FINE_STEPS / _STEPS_PER_PX)))
    return tape.add("Div", whole, tape.float64(_STEPS_PER_PX))


def _sampled(tape: Tape, column: str, row: str) -> str:
    """Bilinear grey levels (n, 3, 112, 112). All faces are one tall grid over one picture, which is never copied."""
    picture = tape.add("Transpose", tape.cast("IMAGE", TensorProto.FLOAT), perm=[2, 0, 1])
    picture = tape.add("Unsqueeze", picture, tape.int64(0))
    places = []
    for place, axis in ((column, 1), (row, 0)):
        length = tape.cast(tape.size_of("IMAGE", axis), TensorProto.DOUBLE)
        # Pixel p of `length` lies at (2p + 1) / length - 1.
        doubled = tape.add("Add", tape.add("Mul", place, tape.float64(2.0)), tape.float64(1.0))
        scaled = tape.add("Sub", tape.add("Div", doubled, length), tape.float64(1.0))
        places.append(tape.add("Unsqueeze", tape.cast(scaled, TensorProto.FLOAT), tape.int64(3)))
    grid = tape.add("Reshape", tape.add("Concat", *places, axis=3), tape.int64(1, -1, CROP_SIDE_PX, 2))
    found = tape.add("GridSample", picture, grid, mode="linear", padding_mode="zeros", align_corners=0)
    faces = tape.add("Reshape", found, tape.int64(3, -1, CROP_SIDE_PX, CROP_SIDE_PX))
    return tape.rounded(tape.add("Transpose", faces, perm=[1, 0, 2, 3]))

"""Resizing as an ONNX graph, grey level for grey level as OpenCV resizes 8-bit pictures.

One grey level of difference everywhere is enough to move landmarks by a quarter of a pixel, and on a poor picture to
prefer another of two detections that score alike. So its fixed-point weights are repeated, not only its formula.
"""

import numpy as np
from onnx import TensorProto, helper

from faceloop.export.triton_tape import Tape

_WEIGHT_ONE = 2048.0  # OpenCV's bilinear weights have 11 bits …
_FIRST_DROPS, _SECOND_DROPS, _LAST_DROPS = 16.0, 65536.0, 4.0  # … of which each pass drops some


def resized_graph(tape: Tape, picture: str, inner_hw: str) -> str:
    """A picture (1, 3, h, w) of whole grey levels to sizes int64 (2,), bilinear; of equal size it stays as it is."""
    left, right, left_weight, right_weight = _taps(tape, picture, inner_hw, axis=3)
    across = tape.add(
        "Add",
        tape.add("Mul", tape.add("Gather", picture, left, axis=3), left_weight),
        tape.add("Mul", tape.add("Gather", picture, right, axis=3), right_weight),
    )
    across = _dropped(tape, across, _FIRST_DROPS)
    upper, lower, upper_weight, lower_weight = _taps(tape, picture, inner_hw, axis=2)
    parts = []
    for rows, weight in ((upper, upper_weight), (lower, lower_weight)):
        column = tape.add("Unsqueeze", weight, tape.int64(1))
        parts.append(_dropped(tape, tape.add("Mul", tape.add("Gather", across, rows, axis=2), column), _SECOND_DROPS))
    total = tape.add("Add", tape.add("Add", *parts), tape.float32(_LAST_DROPS / 2))
    return _dropped(tape, total, _LAST_DROPS)


def _dropped(tape: Tape, values: str, steps: float) -> str:
    """Division by a power of two that forgets the rest."""
    return tape.add("Floor", tape.add("Mul", values, tape.float32(1.0 / steps)))


def _taps(tape: Tape, picture: str, inner_hw: str, *, axis: int) -> tuple[str, str, str, str]:
    """For each pixel along an axis the two that it lies between, and their weights, (pixels,) each."""
    length = tape.size_of(picture, axis)
    wanted = tape.add("Gather", inner_hw, tape.int64(axis - 2), axis=0)
    zero, one = (tape.constant(np.array(value, np.int64)) for value in (0, 1))
    places = tape.add("Range", zero, tape.add("Squeeze", wanted, tape.int64(0)), one)
    ratio = tape.add("Div", tape.cast(length, TensorProto.DOUBLE), tape.cast(wanted, TensorProto.DOUBLE))
    half = tape.float64(0.5)
    middle = tape.add("Add", tape.cast(places, TensorProto.DOUBLE), half)
    exact = tape.cast(tape.add("Sub", tape.add("Mul", middle, ratio), half), TensorProto.FLOAT)
    last = tape.add("Sub", length, tape.int64(1))
    inside = tape.add("Min", tape.add("Max", exact, tape.float32(0.0)), tape.cast(last, TensorProto.FLOAT))
    whole = tape.add("Floor", inside)
    share = tape.add("Sub", inside, whole)
    first = tape.cast(whole, TensorProto.INT64)
    second = tape.add("Min", tape.add("Add", first, tape.int64(1)), last)
    scale = tape.float32(_WEIGHT_ONE)
    first_weight = tape.add("Round", tape.add("Mul", tape.add("Sub", tape.float32(1.0), share), scale))
    return first, second, first_weight, tape.add("Round", tape.add("Mul", share, scale))


def halved_graph(tape: Tape, picture: str, inner_hw: str) -> str:
    """A picture (1, 3, h, w) halved by area while both sides are twice as long as the wanted ones, int64 (2,): plain
    bilinear alone would skip pixels."""
    body = Tape("halve_")
    narrower = _half_of_axis(body, _half_of_axis(body, "before", 2), 3)
    body.named("Identity", "after", body.rounded(narrower))
    body.named("Identity", "goes_on", _is_twice(body, "after", inner_hw))
    free = [1, 3, None, None]
    loop = helper.make_graph(
        body.nodes,
        "halve",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, free),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, free),
        ],
        initializer=body.constants,
    )
    return tape.add("Loop", "", _is_twice(tape, picture, inner_hw), picture, body=loop)


def _half_of_axis(tape: Tape, picture: str, axis: int) -> str:
    """One axis of length w to q = w // 2 by area. Of an odd axis pixel j covers 2 + 1/q pixels: 1 - j/q of pixel 2j,
    all of the next, (j + 1)/q of the one after; of an even one exactly two."""
    length = tape.size_of(picture, axis)
    half = tape.add("Div", length, tape.int64(2))
    twice = tape.add("Mul", half, tape.int64(2))
    odd = tape.cast(tape.add("Sub", length, twice), TensorProto.FLOAT)
    pads = tape.int64(*(int(place == axis + 4) for place in range(8)))
    longer = tape.add("Pad", picture, pads)  # so that the third pixel is always there; of an even axis it weighs 0
    ends = (twice, twice, tape.add("Add", twice, tape.int64(1)))
    first, second, third = (
        tape.add("Slice", longer, tape.int64(start), end, tape.int64(axis), tape.int64(2))
        for start, end in enumerate(ends)
    )
    zero, one = (tape.constant(np.array(value, np.int64)) for value in (0, 1))
    places = tape.cast(tape.add("Range", zero, tape.add("Squeeze", half, tape.int64(0)), one), TensorProto.FLOAT)
    share = tape.add("Div", odd, tape.cast(half, TensorProto.FLOAT))
    before = tape.add("Mul", places, share)
    shape = tape.int64(*(-1 if place == axis else 1 for place in range(4)))
    leading = tape.add("Reshape", tape.add("Sub", tape.float32(1.0), before), shape)
    trailing = tape.add("Reshape", tape.add("Add", before, share), shape)
    weighed = tape.add("Add", tape.add("Mul", first, leading), second)
    weighed = tape.add("Add", weighed, tape.add("Mul", third, trailing))
    return tape.add("Div", weighed, tape.add("Add", tape.float32(2.0), share))


def _is_twice(tape: Tape, picture: str, inner_hw: str) -> str:
    """Whether both sides are at least twice the wanted ones: bool scalar."""
    doubled = tape.add("Mul", inner_hw, tape.int64(2))
    holds = tape.add("GreaterOrEqual", tape.add("Shape", picture, start=2, end=4), doubled)
    return tape.cast(tape.add("ReduceMin", tape.cast(holds, TensorProto.INT64), keepdims=0), TensorProto.BOOL)

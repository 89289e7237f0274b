"""Detection as one ONNX graph: letterbox, YuNet, decoding and suppression, without OpenCV and without Python.

It repeats `faceloop.vision.yunet` step by step. A picture without a face gives one row of score 0, since a batching
model behind it must not be asked for nothing.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from faceloop.export.triton_resize import halved_graph, resized_graph
from faceloop.export.triton_tape import OPSET, Tape, float32_tensor, image_tensor
from faceloop.vision.align import ARCFACE_TEMPLATE_PX
from faceloop.vision.fold import fold_model
from faceloop.vision.model_files import read_verified
from faceloop.vision.specs import DetectorSpec
from facestore.errors import ConfigError, ModelCorrupt

_STRIDES_PX = (8, 16, 32)
_PARTS = ("cls", "obj", "bbox", "kps")
_MULTIPLE_PX = 32
_FARTHEST_PX = 1e9  # beyond, a box is an overflow
_LEAST_SPREAD_PX = 1e-3  # of landmarks that can be aligned
_NETWORK = "yunet_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectParams:
    """How pictures are looked at. Raises ConfigError for a value out of range."""

    long_side_px: int  # the longer side of what the network sees; smaller pictures are never upsized
    min_score: float  # [0, 1]
    max_iou: float  # [0, 1]: of two faces
    max_faces: int  # of a picture, best score first; at most the batch size of the recogniser

    def __post_init__(self) -> None:
        if self.long_side_px < _MULTIPLE_PX or self.max_faces < 1:
            raise ConfigError(
                f"long_side_px is {self.long_side_px} and max_faces {self.max_faces}; set them to "
                f"{_MULTIPLE_PX} and 1 or more"
            )
        if not (0 <= self.min_score <= 1 and 0 <= self.max_iou <= 1):
            raise ConfigError(f"min_score is {self.min_score} and max_iou {self.max_iou}; set them within [0, 1]")


def detect_graph(spec: DetectorSpec, params: DetectParams) -> bytes:
    """IMAGE uint8 (h, w, 3) RGB to BOXES float32 (n, 4) xyxy px, LANDMARKS (n, 5, 2) px and SCORES (n,), best first.

    Raises ConfigError for a detector that is no YuNet: its decoding is not written as a graph.
    """
    if spec.kind != "yunet":
        raise ConfigError(f"detector kind {spec.kind!r} cannot be served as one graph; take a pack with a YuNet")
    network = _network(spec)
    tape = Tape("detect_")
    boxed, scale_xy, columns_px = _letterbox(tape, spec, params.long_side_px)
    tape.nodes.append(helper.make_node("Identity", [boxed], [network.graph.input[0].name], name="into_network"))
    tape.nodes.extend(network.graph.node)
    tape.constants.extend(network.graph.initializer)
    boxes, points, scores = _candidates(tape, columns_px)
    boxes, points, scores = _wanted(tape, boxes, points, scores, params)
    boxes = tape.add("Div", boxes, tape.add("Concat", scale_xy, scale_xy, axis=0))
    points = tape.add("Div", points, scale_xy)
    for name, rows, nobody in (
        ("BOXES", boxes, np.zeros((1, 4), np.float32)),
        ("LANDMARKS", points, np.ascontiguousarray(ARCFACE_TEMPLATE_PX[None])),
        ("SCORES", scores, np.zeros(1, np.float32)),
    ):
        _or_nobody(tape, name, rows, nobody)
    outputs = [
        float32_tensor("BOXES", "faces", 4),
        float32_tensor("LANDMARKS", "faces", 5, 2),
        float32_tensor("SCORES", "faces"),
    ]
    return tape.model("face_detect", [image_tensor()], outputs)


def _network(spec: DetectorSpec) -> onnx.ModelProto:
    folded = fold_model(read_verified(spec.model_path, sha256=spec.sha256), free_axes=("N", "", "H", "W"))
    model = onnx.load_model_from_string(folded)
    expected = [f"{part}_{stride}" for part in _PARTS for stride in _STRIDES_PX]
    if [value.name for value in model.graph.output] != expected:
        raise ModelCorrupt(f"outputs are {[value.name for value in model.graph.output]}, YuNet has {expected}")
    if model.opset_import[0].version != OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    return compose.add_prefix(model, _NETWORK)


def _letterbox(tape: Tape, spec: DetectorSpec, long_side_px: int) -> tuple[str, str, str]:
    """The network's input, its pixels per picture pixel (2,) float32, and its width in px, int64 (1,)."""
    size_hw = tape.add("Shape", "IMAGE", start=0, end=2)
    exact = tape.cast(size_hw, TensorProto.DOUBLE)
    longest = tape.add("ReduceMax", exact, tape.int64(0), keepdims=1)
    scale = tape.add("Min", tape.add("Div", tape.float64(float(long_side_px)), longest), tape.float64(1.0))
    inner = tape.cast(tape.add("Round", tape.add("Mul", exact, scale)), TensorProto.INT64)
    inner_hw = tape.add("Max", inner, tape.int64(1))
    picture = tape.add("Transpose", tape.cast("IMAGE", TensorProto.FLOAT), perm=[2, 0, 1])
    if spec.preprocessing.colour == "BGR":
        picture = tape.add("Gather", picture, tape.int64(2, 1, 0), axis=0)
    picture = tape.add("Unsqueeze", picture, tape.int64(0))
    resized = resized_graph(tape, halved_graph(tape, picture, inner_hw), inner_hw)
    steps = tape.add("Div", tape.add("Add", inner_hw, tape.int64(_MULTIPLE_PX - 1)), tape.int64(_MULTIPLE_PX))
    canvas_hw = tape.add("Mul", steps, tape.int64(_MULTIPLE_PX))
    pads = tape.add("Concat", tape.int64(0, 0, 0, 0, 0, 0), tape.add("Sub", canvas_hw, inner_hw), axis=0)
    boxed = tape.add("Pad", resized, pads)
    mean, std = spec.preprocessing.mean, spec.preprocessing.std
    if (mean, std) != (0.0, 1.0):
        boxed = tape.add("Div", tape.add("Sub", boxed, tape.float32(mean)), tape.float32(std))
    ratio_hw = tape.cast(tape.add("Div", tape.cast(inner_hw, TensorProto.DOUBLE), exact), TensorProto.FLOAT)
    scale_xy = tape.add("Gather", ratio_hw, tape.int64(1, 0), axis=0)
    return boxed, scale_xy, tape.add("Gather", canvas_hw, tape.int64(1), axis=0)


def _candidates(tape: Tape, width_px: str) -> tuple[str, str, str]:
    """Boxes (cells, 4), landmarks (cells, 5, 2), scores (cells,) of all cells of the three strides."""
    boxes, points, scores = [], [], []
    for stride in _STRIDES_PX:
        cls, obj, box, kps = (tape.add("Squeeze", f"{_NETWORK}{part}_{stride}", tape.int64(0)) for part in _PARTS)
        low, high = (tape.constant(np.array(value, np.float32)) for value in (0.0, 1.0))
        chance = tape.add("Mul", *(tape.add("Clip", part, low, high) for part in (cls, obj)))
        scores.append(tape.add("Reshape", tape.add("Sqrt", chance), tape.int64(-1)))
        cells = tape.add("Squeeze", tape.size_of(cls, 0), tape.int64(0))
        whole = tape.add("Range", tape.constant(np.array(0, np.int64)), cells, tape.constant(np.array(1, np.int64)))
        across = tape.add("Div", width_px, tape.int64(stride))
        corner = tape.add(
            "Concat",
            *(tape.add("Unsqueeze", tape.add(operator, whole, across), tape.int64(1)) for operator in ("Mod", "Div")),
            axis=1,
        )
        corner = tape.cast(corner, TensorProto.FLOAT)  # (cells, 2): column and row
        shift, size = tape.int64(0), tape.int64(2)
        offset = tape.add("Slice", box, shift, size, tape.int64(1))
        extent = tape.add("Slice", box, size, tape.int64(4), tape.int64(1))
        centre = tape.add("Mul", tape.add("Add", offset, corner), tape.float32(stride))
        half = tape.add("Mul", tape.add("Exp", extent), tape.float32(stride / 2))
        edges = (tape.add("Sub", centre, half), tape.add("Add", centre, half))
        boxes.append(tape.add("Concat", *edges, axis=1))
        relative = tape.add("Reshape", kps, tape.int64(-1, 5, 2))
        moved = tape.add("Add", relative, tape.add("Unsqueeze", corner, tape.int64(1)))
        points.append(tape.add("Mul", moved, tape.float32(stride)))
    joined = [tape.add("Concat", *parts, axis=0) for parts in (boxes, points, scores)]
    return joined[0], joined[1], joined[2]


def _wanted(tape: Tape, boxes: str, points: str, scores: str, params: DetectParams) -> tuple[str, str, str]:
    """The rows above the score, finite and alignable, less those that a better one overlaps; best first."""
    flat = tape.add("Reshape", points, tape.int64(0, 10))
    numbers = tape.add("Concat", boxes, flat, axis=1)
    farthest = tape.add("ReduceMax", tape.add("Abs", numbers), tape.int64(1), keepdims=0)
    highest, lowest = (tape.add(operator, points, tape.int64(1), keepdims=0) for operator in ("ReduceMax", "ReduceMin"))
    spread = tape.add("ReduceMax", tape.add("Sub", highest, lowest), tape.int64(1), keepdims=0)
    is_wanted = tape.add("GreaterOrEqual", scores, tape.float32(params.min_score))
    is_wanted = tape.add("And", is_wanted, tape.add("Less", farthest, tape.float32(_FARTHEST_PX)))
    is_wanted = tape.add("And", is_wanted, tape.add("Greater", spread, tape.float32(_LEAST_SPREAD_PX)))
    rows = tape.add("Squeeze", tape.add("NonZero", is_wanted), tape.int64(0))
    boxes, points, scores = (tape.add("Gather", name, rows, axis=0) for name in (boxes, points, scores))
    chosen = tape.add(
        "NonMaxSuppression",
        tape.add("Unsqueeze", boxes, tape.int64(0)),
        tape.add("Unsqueeze", scores, tape.int64(0, 1)),
        tape.int64(params.max_faces),
        tape.float32(params.max_iou),
    )
    kept = tape.add("Gather", chosen, tape.constant(np.array(2, np.int64)), axis=1)
    boxes, points, scores = (tape.add("Gather", name, kept, axis=0) for name in (boxes, points, scores))
    return boxes, points, scores


def _or_nobody(tape: Tape, output: str, rows: str, nobody: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    """All rows; where there is none, the one that stands for nobody."""
    count = tape.add("Max", tape.size_of(rows, 0), tape.int64(1))
    both = tape.add("Concat", rows, tape.constant(nobody), axis=0)
    tape.named("Slice", output, both, tape.int64(0), count, tape.int64(0))

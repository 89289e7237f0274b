"""A tiny recogniser that tells coloured pictures apart, as a candidate, and a small release to export it on."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from faceloop.export.canonical import RecogniserGraph, checked_graph
from faceloop.export.params import ExportParams
from faceloop.params import read_params, section
from faceloop.stages.export import Params
from facestore.ids import canonical_json, sha256_hex
from facestore.images import encode_jpeg
from facestore.records import ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import write_table

from .runner_world import ROOT

DIMENSION = 16
SMALL = (
    "export.triton=null",
    "export.batch_size=8",
    "export.calibration.count=12",
    "export.calibration.float_layers=0",
    "export.comparison.count=24",
    "export.probes=3",
    "export.recovery.batch_size=4",
    "export.recovery.steps={pruned: 0, channels: 0, distilled: 0}",
    "export.tensorrt.profile={min: 1, opt: 2, max: 4}",
)


def export_params(*overrides: str) -> ExportParams:
    return section(read_params(ROOT / "params.yaml", [*SMALL, *overrides]), "export", Params)


def tiny_model(*, opset: int = 17, batch: str | int = "N", seed: int = 1) -> onnx.ModelProto:
    """Conv 3→8 (stride 8) · PRelu · depthwise 3×3 · Relu · Conv 8→8 · Conv 8→8 with a residual sum · Gemm to 16."""
    generator = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        fan_in = int(np.prod(shape[1:])) or 1
        return numpy_helper.from_array((generator.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32), name)

    slope = numpy_helper.from_array(np.full((8, 1, 1), 0.2, dtype=np.float32), "slope")
    initialisers = [
        weight("w0", 8, 3, 3, 3), weight("b0", 8), slope, weight("w1", 8, 1, 3, 3), weight("w2", 8, 8, 1, 1),
        weight("b2", 8), weight("w3", 8, 8, 1, 1), weight("w4", DIMENSION, 8 * 14 * 14), weight("b4", DIMENSION),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["image", "w0", "b0"], ["a"], name="first", strides=[8, 8], kernel_shape=[3, 3]),
        helper.make_node("PRelu", ["a", "slope"], ["b"], name="slope_of_a"),
        helper.make_node("Conv", ["b", "w1"], ["c"], name="deep", group=8, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], name="relu"),
        helper.make_node("Conv", ["d", "w2", "b2"], ["e"], name="second", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["e", "w3"], ["f"], name="third", kernel_shape=[1, 1]),
        helper.make_node("Add", ["e", "f"], ["g"], name="sum"),
        helper.make_node("Flatten", ["g"], ["i"], name="flat"),
        helper.make_node("Gemm", ["i", "w4", "b4"], ["vector"], name="last", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, DIMENSION])],
        initialisers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def tiny_graph(seed: int = 1) -> RecogniserGraph:
    return checked_graph(tiny_model(seed=seed), dimension=DIMENSION)


def tiny_candidate(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    """A model pack folder, as `train` publishes one."""
    folder.mkdir(parents=True, exist_ok=True)
    model_bytes = bytes((model or tiny_model()).SerializeToString(deterministic=True))
    (folder / "model.onnx").write_bytes(model_bytes)
    recognition = {
        "file": "model.onnx", "sha256": sha256_hex(model_bytes), "kind": "arcface",
        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128}, "input_size": 112,
        "embedding_dimension": DIMENSION,
    }  # fmt: skip
    manifest = {"manifest_version": 1, "pack_id": "tiny", "licence": "ours", "tasks": {"recognition": recognition}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def coloured(identity: int, number: int) -> NDArray[np.uint8]:
    """A picture in an identity's colours, a little different each time."""
    colours = np.random.default_rng(identity).integers(20, 236, size=(4, 4, 3))
    noise = np.random.default_rng([identity, number]).integers(-12, 13, size=(112, 112, 3))
    return (np.kron(colours, np.ones((28, 28, 1), dtype=int)) + noise).clip(0, 255).astype(np.uint8)


def tiny_release(folder: Path, *, identities: Sequence[int] = range(8), faces: int = 6) -> Path:
    """Half of the identities in train, the rest in val and test; quality rises with a face's number."""
    rows: list[ReleaseSample] = []
    split_of = {who: ("train", "val", "train", "test")[place % 4] for place, who in enumerate(identities)}
    for split in ("train", "val", "test"):
        people = [who for who in identities if split_of[who] == split]
        labelled = [
            (SampleLabel(face_id=f"{who}-{n}", identity_id=f"person-{who}", class_index=-1, confidence=1.0,
                         quality=n / faces), encode_jpeg(coloured(who, n), 95))
            for who in people for n in range(faces)
        ]  # fmt: skip
        written = write_shards(folder / split, labelled, 16)
        rows += [_row(split, label, place.shard, place.row, place.sha256)
                 for (label, _), place in zip(labelled, written, strict=True)]  # fmt: skip
    write_table(folder / "samples.parquet", ReleaseSample, rows)
    (folder / "manifest.json").write_text(canonical_json({"release": "abc", "lineage": {"footage": []}}), "utf-8")
    return folder


def _row(split: Split, label: SampleLabel, shard: str, row: int, sha256: str) -> ReleaseSample:
    return ReleaseSample(
        split=split, shard=f"{split}/{shard}", row=row, face_id=label.face_id, footage_id="f",
        identity_id=label.identity_id, class_index=-1, confidence=1.0, quality=label.quality, sha256=sha256,
    )  # fmt: skip

"""A world whose answers are known: people are coarse colour patterns, models average the picture over cells.

A model with small cells tells people apart; one with large cells sees less. Neither was ever trained.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from faceloop.evaluation.evaluate_params import IntervalParams, SearchParams, SliceParams, SupportParams
from faceloop.evaluation.gold import Gold, HeldCrops, gold_of
from faceloop.evaluation.measuring import Rules
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace
from faceloop.vision.model_files import sha256_of
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from faceloop.vision.specs import ModelPack
from facestore.images import UInt8Array, encode_jpeg
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, AttributeLabel, Face, FaceEmbedding, ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import write_table

from .runner_world import ROOT

CHEAP = (
    "evaluate.unfamiliar.pictures_per_kind=1",
    "evaluate.unfamiliar.most_known=20",
    "evaluate.labelling.resamples=100",
    "evaluate.labelling.asked.most=0",
    "evaluate.coverage.floors=[]",
)
SUPPORT = SupportParams(false_accepts=30.0, people=3.0, genuine_pairs=30, identities=10)


def rules(**changed: object) -> Rules:
    """Small numbers; the rates that a hundred faces can show."""
    found: dict[str, object] = {
        "seed": 3,
        "fars": (0.1, 0.01, 0.0001),
        "intervals": IntervalParams(replicates=200, confidence=0.95),
        "support": SUPPORT,
        "search": SearchParams(fpirs=[0.3, 0.01], unmated_share=0.5, templates=1, fusion="mean", ranks=3),
        "slices": SliceParams(far=0.01, pairs=20, people=5, measured={}),
        "floors": {},
    }
    return Rules(**(found | changed))  # type: ignore[arg-type]  # checked by what is measured


def people(
    identities: int, faces: int, *, noise: float, dimension: int = 32, seed: int = 5
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit vectors (n, d) around one direction a person, and whose they are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, dimension))
    identity = np.repeat(np.arange(identities), faces)
    vectors = centres[identity] + noise * rng.normal(size=(len(identity), dimension))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32), identity.astype(np.int64)


def gold_with(identity: NDArray[np.int64], occasion: NDArray[np.int64] | None = None) -> Gold:
    """Gold of black crops, in the order given."""
    looks = np.arange(len(identity)) if occasion is None else occasion
    faces = [(f"f{row:05d}", f"p{who:04d}", f"o{looks[row]:05d}") for row, who in enumerate(identity.tolist())]
    return gold_of("toy", faces, HeldCrops(images=np.zeros((len(identity), 112, 112, 3), np.uint8)))


def cell_pack(folder: Path, cells: int) -> str:
    """A recogniser that averages the picture over cells × cells squares: a pack like any other."""
    folder.mkdir(parents=True)
    side, dimension = 112 // cells, 3 * cells * cells
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["cells"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Flatten", ["cells"], ["vector"], axis=1),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, 112, 112])
    made = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", dimension])
    model = helper.make_model(
        helper.make_graph(nodes, "cells", [given], [made]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, str(folder / "model.onnx"))
    recognition = {
        "file": "model.onnx",
        "sha256": sha256_of((folder / "model.onnx").read_bytes()),
        "kind": "arcface",
        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 127.5},
        "input_size": 112,
        "embedding_dimension": dimension,
    }
    manifest = {
        "manifest_version": 1,
        "pack_id": f"cells-{cells}",
        "licence": "none",
        "tasks": {"recognition": recognition},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return str(folder)


def picture(who: int, look: int, noise: float = 70.0) -> UInt8Array:
    """One look at a person: an 8 × 8 pattern of their own, disturbed."""
    pattern = np.random.default_rng(who).integers(0, 256, (8, 8, 3)).astype(np.float64)
    disturbed = pattern + noise * np.random.default_rng([who, look]).normal(size=(8, 8, 3))
    return np.clip(np.kron(disturbed, np.ones((14, 14, 1))), 0, 255).astype(np.uint8)


def evaluated(root: Path, *overrides: str, leak: bool = False, val: int = 4) -> Workspace:
    """A root with a release of 26 people and `val` more (12 are trained on) and a candidate; nothing is evaluated yet.

    `leak`: the first test face shows what the first train face shows.
    """
    current = cell_pack(root / "current", 2)
    numbers = [
        f"evaluate.current.pack={current}",
        "evaluate.current.engine=onnxruntime",
        "evaluate.fars=[0.1, 0.05, 0.000001]",
        "evaluate.slices.far=0.05",
        "evaluate.slices.pairs=20",
        "evaluate.slices.people=5",
        "evaluate.intervals.replicates=100",
        "evaluate.search.fpirs=[0.5, 0.01]",
        *CHEAP,
        *overrides,
    ]
    tree = read_params(ROOT / "params.yaml", [f"paths.source={root / 'source'}", *numbers])
    work = open_workspace(root, tree, threads=1, progress=SilentProgress())
    staging = fresh_partial(work.path("candidate"), keep=False)
    staging.rmdir()
    cell_pack(staging, 4)
    publish(work.path("candidate"), stage="train", run_key="run", counts={}, inputs={})
    _release(work, load_pack(current, accept_licence=None, insightface_root=None), leak=leak, val=val)
    return work


def _release(work: Workspace, pack: ModelPack, *, leak: bool, val: int) -> None:
    split_of: dict[Split, range] = {"train": range(12), "val": range(12, 12 + val), "test": range(16, 30)}
    staging = fresh_partial(work.path("release"), keep=False)
    samples: list[ReleaseSample] = []
    images: dict[str, UInt8Array] = {}
    for split, identities in split_of.items():
        labels = []
        for who in identities:
            for look in range(5):
                face_id = f"{who:02d}-{look}"
                images[face_id] = picture(0, 0) if leak and (who, look) == (16, 0) else picture(who, look)
                labels.append(
                    SampleLabel(
                        face_id=face_id,
                        identity_id=f"person-{who:02d}",
                        class_index=who if split == "train" else -1,
                        confidence=0.9,
                        quality=0.5,
                    )
                )
        jpegs = [encode_jpeg(images[label.face_id], 95) for label in labels]
        written = write_shards(staging / split, zip(labels, jpegs, strict=True), samples_per_shard=16)
        samples += [
            ReleaseSample(
                split=split, shard=f"{split}/{place.shard}", row=place.row, face_id=label.face_id, footage_id="f",
                identity_id=label.identity_id, class_index=label.class_index, confidence=0.9, quality=0.5,
                sha256=place.sha256,
            )
            for label, place in zip(labels, written, strict=True)
        ]  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, samples)
    splits = {name: {"identities": len(who), "samples": 5 * len(who)} for name, who in split_of.items()}
    told = {"release": "toy", "lineage": {"footage": []}, "splits": splits, "tombstones": []}
    (staging / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    publish(work.path("release"), stage="pack", run_key="run", counts={}, inputs={})
    _faces(work, list(images))
    contract_id = embedding_contract(pack, precision="f32").contract_id
    rows = [
        FaceEmbedding(
            face_id=face_id, tracklet_id=face_id, footage_id="f", contract_id=contract_id,
            embedding=tuple(_cells(image, 2).tolist()),
        )
        for face_id, image in images.items()
    ]  # fmt: skip
    write_table(fresh_partial(work.path("embeddings"), keep=False) / "b0" / "faces.parquet", FaceEmbedding, rows)
    publish(work.path("embeddings"), stage="embed", run_key="run", counts={}, inputs={})


def _faces(work: Workspace, face_ids: list[str]) -> None:
    """Looks 0 and 1 are of one tracklet; look 4 is turned away; the first half of the people wear a mask at look 3."""
    faces = [
        Face(
            face_id=face_id, footage_id="f", subset="gate" if int(face_id[:2]) % 2 else "lobby", pts_ms=0,
            bbox=(0.0, 0.0, 9.0, 9.0), landmarks=(0.0,) * 10, det_score=0.9,
            tracklet_id=f"{face_id[:2]}-0" if face_id.endswith(("-0", "-1")) else face_id, is_best_shot=True,
            size_px=90.0, sharpness=0.5, brightness=0.5, contrast=0.2, yaw=-50.0 if face_id.endswith("-4") else 3.0,
            pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9, crop_key=f"b0/{face_id}", detector="d", rejected=None,
        )
        for face_id in face_ids
    ]  # fmt: skip
    write_table(fresh_partial(work.path("faces"), keep=False) / "b0" / "faces.parquet", Face, faces)
    publish(work.path("faces"), stage="detect", run_key="run", counts={}, inputs={})
    staging = fresh_partial(work.path("assignments"), keep=False)
    labels = [
        Assignment(
            face_id=face_id, identity_id=f"person-{face_id[:2]}", state="confirmed", confidence=0.9,
            source="human" if face_id.endswith("-2") else "auto", decision_id=None, via=None,
        )
        for face_id in face_ids
    ]  # fmt: skip
    write_table(staging / "assignments.parquet", Assignment, labels)
    masks = [
        AttributeLabel(
            face_id=face_id, name="occlusion", value="mask", source="human", decision_id="d", via="face"
        )
        for face_id in face_ids
        if face_id.endswith("-3")
    ]  # fmt: skip
    write_table(staging / "attributes.parquet", AttributeLabel, masks)
    publish(work.path("assignments"), stage="identify", run_key="run", counts={}, inputs={})


def _cells(image: UInt8Array, cells: int) -> NDArray[np.float32]:
    side = 112 // cells
    means = image.astype(np.float64).reshape(cells, side, cells, side, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    vector = (means.ravel() - 127.5) / 127.5
    return np.asarray(vector / np.linalg.norm(vector), np.float32)

"""A root of published tables with made-up vectors: what a face shows is an axis of its embedding, who it is another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace
from faceloop.training.attributes.attribute_params import TrainAttributesParams
from faceloop.training.attributes.targets import Head
from facestore.crops import CropWriter
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, AttributeLabel, Face, FaceEmbedding
from facestore.tables import write_table

ROOT = Path(__file__).parents[2]
DIMENSION = 16
PEOPLE, FACES_EACH = 40, 4
SMALL = (
    "train_attributes.recipe={epochs: 25, batch_size: 16, learning_rate: 0.01, weight_decay: 0.01}",
    "train_attributes.hidden_units=16", "train_attributes.intervals.replicates=50",
    ("train_attributes.heads=[{name: expression, kind: classes, values: [neutral, smile]}, "
     "{name: state, kind: classes, values: [awake, asleep]}, {name: yaw, kind: number, values: []}]"),
    ("train_attributes.clips={attributes: [state], hidden_units: 8, most_faces: 8, "
     "recipe: {epochs: 10, batch_size: 32, learning_rate: 0.01, weight_decay: 0.0}}"),
    "train_attributes.support.test_people=5", "train_attributes.support.test_faces=10",
)  # fmt: skip


def classes(name: str, *values: str) -> Head:
    return Head(name=name, kind="classes", values=values, weights=(1.0,) * len(values), mean=0.0, spread=1.0)


def number(name: str, *, mean: float = 0.0, spread: float = 1.0) -> Head:
    return Head(name=name, kind="number", values=(), weights=(), mean=mean, spread=spread)


def params_of(*overrides: str) -> TrainAttributesParams:
    return section(read_params(ROOT / "params.yaml", [*SMALL, *overrides]), "train_attributes", TrainAttributesParams)


def published(root: Path, *overrides: str, has_answers: bool = True, has_crops: bool = False) -> Workspace:
    """Faces `f-PERSON-NUMBER`, two a tracklet; smiling is the sign of the first axis, yaw 40 × the second."""
    tree = read_params(ROOT / "params.yaml", [f"paths.source={root / 'source'}", *SMALL, *overrides])
    work = open_workspace(root, tree, threads=1, progress=SilentProgress())
    rng = np.random.default_rng(3)
    faces, vectors, labels = [], [], []
    crops = fresh_partial(work.path("crops"), keep=False)
    (crops / "b000").mkdir()
    with CropWriter(crops / "b000") as writer:
        for person in range(PEOPLE):
            own = rng.normal(size=DIMENSION)
            for place in range(FACES_EACH):
                face_id, is_smiling = f"f-{person:03}-{place}", bool(rng.integers(2))
                own[:2] = (2.0 if is_smiling else -2.0), rng.uniform(-1, 1)
                unit = own / np.linalg.norm(own)
                faces.append(_face(face_id, f"t-{person:03}-{place // 2}", place * 200))
                vectors.append((face_id, unit))
                if has_crops:
                    writer.put("aligned", face_id, np.full((112, 112, 3), 220 if is_smiling else 30, np.uint8))
                labels += _labels(face_id, is_smiling, float(40 * unit[1])) if has_answers else []
    _publish(work, "faces", "detect", [(Face, "faces", faces)])
    publish(work.path("crops"), stage="detect", run_key="run", counts={}, inputs={})
    _publish(work, "embeddings", "embed", [(FaceEmbedding, "faces", [_embedding(*one) for one in vectors])])
    rows = [_assignment(face.face_id) for face in faces]
    _publish(
        work, "assignments", "identify", [(Assignment, "assignments", rows), (AttributeLabel, "attributes", labels)]
    )
    return work


def _labels(face_id: str, is_smiling: bool, yaw: float) -> list[AttributeLabel]:
    said = {"expression": "smile" if is_smiling else "neutral", "yaw": f"{yaw:.3f}"}
    if face_id.endswith(("0", "2")):
        said["state"] = "asleep" if is_smiling else "awake"
    return [
        AttributeLabel(face_id=face_id, name=name, value=value, source="human", decision_id=f"d{face_id}", via="face")
        for name, value in said.items()
    ]


def _face(face_id: str, tracklet_id: str, pts_ms: int) -> Face:
    return Face(
        face_id=face_id, footage_id="clip", subset="s", pts_ms=pts_ms, bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(1.0,) * 10, det_score=0.9, tracklet_id=tracklet_id, is_best_shot=True, size_px=9.0, sharpness=0.9,
        brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=f"b000/{face_id}", detector="d", rejected=None,
    )  # fmt: skip


def _embedding(face_id: str, unit: np.ndarray[tuple[int], np.dtype[np.float64]]) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=face_id, tracklet_id="t", footage_id="clip", contract_id="model-1", embedding=tuple(unit.tolist())
    )


def _assignment(face_id: str) -> Assignment:
    return Assignment(
        face_id=face_id, identity_id=face_id[:5], state="confirmed", confidence=1.0, source="human", decision_id="d",
        via="face",
    )  # fmt: skip


def _publish(work: Workspace, artifact: str, stage: str, tables: Sequence[tuple[type, str, Sequence[object]]]) -> None:
    staging = fresh_partial(work.path(artifact), keep=False)
    for record, name, rows in tables:
        write_table(staging / f"{name}.parquet", record, rows)  # type: ignore[type-var]
    publish(work.path(artifact), stage=stage, run_key="run", counts={}, inputs={})

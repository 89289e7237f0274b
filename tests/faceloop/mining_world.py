"""Small worlds to mine, whose answers are computable: people on orthogonal axes, in tables or as a quarry."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import BUILTIN_CONTRACT, Calibration, builtin_calibration
from faceloop.decision_tables import export_decisions
from faceloop.mining.quarry import MinedFace, PeoplesWord, Quarry, make_quarry
from faceloop.runner import Workspace, run_stage
from facestore.crops import CropWriter
from facestore.ids import sha256_hex
from facestore.publish import fresh_partial, publish
from facestore.records import Face, FaceEmbedding, Footage, NearDuplicate, Reading, Rejection, TrackletTemplate
from facestore.tables import write_table

from .runner_world import open_root, tree_of

Vector = NDArray[np.float64]
DIM = 64
PEOPLE, PHOTOS = 4, 6
NOBODY_SPOKE = PeoplesWord(tie_of={}, name_of={}, apart=frozenset())
CALIBRATION: Calibration = builtin_calibration()


def axis(number: int) -> Vector:
    """The direction of a person, or of a way to look."""
    return np.asarray(np.eye(DIM)[number], np.float64)


def turned(person: int, way: int, degrees: float) -> Vector:
    """A person's face, turned away from the typical one by an angle, towards axis `way`."""
    angle = math.radians(degrees)
    return math.cos(angle) * axis(person) + math.sin(angle) * axis(way)


def mined_face(name: str, identity: str, **changed: object) -> MinedFace:
    plain: dict[str, object] = {
        "face_id": name, "tracklet_id": f"t-{name}", "footage_id": f"f-{name}", "pts_ms": 0, "subset": "gate",
        "quality": 0.8, "yaw": 0.0, "size_px": 100.0, "crop_key": f"b000/{name}", "identity_id": identity,
        "state": "proposed",
    }  # fmt: skip
    return MinedFace(**{**plain, **changed})  # type: ignore[arg-type]


def quarry_of(
    faces: Sequence[tuple[MinedFace, Vector]], *, word: PeoplesWord = NOBODY_SPOKE, unwanted: Sequence[str] = ()
) -> Quarry:
    vectors = np.array([vector / np.linalg.norm(vector) for _, vector in faces], np.float32)
    known = [face for face, _ in faces]
    return make_quarry(known, vectors, [face.face_id not in unwanted for face in known], CALIBRATION, word)


def face_id(person: int, photo: int) -> str:
    return sha256_hex(f"face {person} {photo}".encode())[:32]


PERSON = {face_id(person, photo): person for person in range(PEOPLE) for photo in range(PHOTOS)}


def publish_world(root: Path, source: Path, looks: Mapping[str, Vector] | None = None) -> Workspace:
    """Photos of four people, six of each, as detect and embed would publish them, then labelled by the real stages.

    Photo 1 is turned by 55 degrees one way, photo 2 another way; the others are nearly the typical face.
    """
    work = open_root(root, tree_of(source))
    vectors = {**_looks(), **(looks or {})}
    names = sorted(vectors)
    _publish(
        work, "footage", "ingest", footage=(Footage, [_footage(name) for name in names]), rejections=(Rejection, [])
    )
    _publish(work, "faces", "detect", faces=(Face, [_face(name) for name in names]), readings=(Reading, []))
    folder = fresh_partial(work.path("crops"), keep=False)
    (folder / "b000").mkdir()
    with CropWriter(folder / "b000") as crops:
        for number, name in enumerate(names):
            for kind in ("aligned", "context"):
                crops.put("aligned" if kind == "aligned" else "context", name, np.full((112, 112, 3), number, np.uint8))
    publish(work.path("crops"), stage="detect", run_key="run-detect", counts={}, inputs={})
    _publish(
        work, "embeddings", "embed",
        faces=(FaceEmbedding, [_embedding(name, vectors[name]) for name in names]),
        templates=(TrackletTemplate, [_template(name, vectors[name]) for name in names]),
        committee=(TrackletTemplate, []),
        near_duplicates=(NearDuplicate, []),
    )  # fmt: skip
    label(work)
    return work


def label(work: Workspace, *stages: str) -> None:
    """Export what people said; run cluster, identify and further stages."""
    export_decisions(work)
    for stage in ("cluster", "identify", *stages):
        run_stage(work, stage)


def _looks() -> dict[str, Vector]:
    rng = np.random.default_rng(0)
    found = {}
    for name, person in PERSON.items():
        photo = next(number for number in range(PHOTOS) if face_id(person, number) == name)
        way = 10 + 2 * person + photo - 1
        look = turned(person, way, 55.0) if photo in (1, 2) else axis(person)
        found[name] = look + 0.01 * rng.standard_normal(DIM)
    return found


def _unit(vector: Vector) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in vector / np.linalg.norm(vector))


def _footage(name: str) -> Footage:
    return Footage(
        footage_id=sha256_hex(name.encode()), batch="b000", uri=f"{name}.jpg", locations=(f"{name}.jpg",), size_bytes=1,
        kind="image", width=640, height=480, rotation=0, fps=None, duration_s=None, frames=None, codec="jpeg",
        captured_at=None, source="s", subset="album", consent_id=None, keys=(), flags=(),
    )  # fmt: skip


def _face(name: str) -> Face:
    return Face(
        face_id=name, footage_id=sha256_hex(name.encode()), subset="album", pts_ms=0, bbox=(100.0, 100.0, 200.0, 220.0),
        landmarks=tuple(float(value) for value in range(100, 110)), det_score=0.9, tracklet_id=f"t{name}",
        is_best_shot=True, size_px=110.0, sharpness=1.0, brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0,
        occlusion=0.0, quality=0.8, crop_key=f"b000/{name}", detector="yunet", rejected=None,
    )  # fmt: skip


def _embedding(name: str, vector: Vector) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=name, tracklet_id=f"t{name}", footage_id=sha256_hex(name.encode()), contract_id=BUILTIN_CONTRACT,
        embedding=_unit(vector),
    )  # fmt: skip


def _template(name: str, vector: Vector) -> TrackletTemplate:
    return TrackletTemplate(
        tracklet_id=f"t{name}", footage_id=sha256_hex(name.encode()), subset="album", contract_id=BUILTIN_CONTRACT,
        faces=1, weight=0.8, quality=0.8, coherence=1.0, best_face_id=name, embedding=_unit(vector),
    )  # fmt: skip


def _publish(work: Workspace, artifact: str, stage: str, **tables: tuple[type, Sequence[object]]) -> None:
    folder = fresh_partial(work.path(artifact), keep=False)
    for name, (record, rows) in tables.items():
        write_table(folder / f"{name}.parquet", record, rows)  # type: ignore[type-var]
    publish(work.path(artifact), stage=stage, run_key=f"run-{stage}", counts={}, inputs={})

"""A small root with a published release and what it was made from, without any stage having run."""

from pathlib import Path

import numpy as np

from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace
from facestore.ids import JsonValue
from facestore.images import encode_jpeg
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, Face, FaceEmbedding, ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import write_table

from .runner_world import ROOT

SPLITS: dict[Split, tuple[str, ...]] = {"train": ("person-a", "person-b"), "val": ("person-c",), "test": ("person-d",)}


def face_name(identity: str, number: int) -> str:
    return f"{identity}-{number}"


def vector_of(place: int) -> tuple[float, ...]:
    """Unit vectors on axes: no two faces are alike."""
    return tuple(np.eye(64, dtype=np.float32)[place].tolist())


def released(
    root: Path,
    *overrides: str,
    faces: int = 6,
    confidence: float = 0.99,
    splits: dict[Split, tuple[str, ...]] = SPLITS,
    alike: tuple[int, int] | None = None,
    by_people: frozenset[str] = frozenset(),
) -> Workspace:
    """`faces` samples for each identity of each split, in shards of four; `alike`: faces with one vector."""
    tree = read_params(ROOT / "params.yaml", [f"paths.source={root / 'source'}", *overrides])
    work = open_workspace(root, tree, threads=1, progress=SilentProgress())
    places = [(split, who, number) for split, names in splits.items() for who in names for number in range(faces)]
    samples = _write_release(work, places, splits, confidence)
    labels = [
        Assignment(
            face_id=sample.face_id, identity_id=sample.identity_id, state="proposed", confidence=confidence,
            source="human" if sample.face_id in by_people else "auto", decision_id=None, via=None,
        )
        for sample in samples
    ]  # fmt: skip
    write_table(fresh_partial(work.path("assignments"), keep=False) / "assignments.parquet", Assignment, labels)
    _publish(work, "assignments")
    twin = {alike[1]: alike[0]} if alike else {}
    vectors = [
        FaceEmbedding(
            face_id=face_name(who, number), tracklet_id="t", footage_id="f", contract_id="c",
            embedding=vector_of(twin.get(place, place)),
        )
        for place, (_, who, number) in enumerate(places)
    ]  # fmt: skip
    write_table(fresh_partial(work.path("embeddings"), keep=False) / "b0" / "faces.parquet", FaceEmbedding, vectors)
    _publish(work, "embeddings")
    with_faces(work, len(places))
    return work


def with_faces(work: Workspace, count: int, *, without_crop: int = 0) -> None:
    """Publish so many faces with a crop, and others without."""
    rows = [_face(number, has_crop=number < count) for number in range(count + without_crop)]
    write_table(fresh_partial(work.path("faces"), keep=False) / "b0" / "faces.parquet", Face, rows)
    _publish(work, "faces")


def with_decisions(work: Workspace, count: int) -> None:
    """Publish a decisions artifact that says that so many were made."""
    fresh_partial(work.path("decisions"), keep=False)
    _publish(work, "decisions", {"decisions": count})


def _publish(work: Workspace, artifact: str, counts: dict[str, JsonValue] | None = None) -> None:
    publish(work.path(artifact), stage=artifact, run_key="run", counts=counts or {}, inputs={})


def _write_release(
    work: Workspace, places: list[tuple[Split, str, int]], splits: dict[Split, tuple[str, ...]], confidence: float
) -> list[ReleaseSample]:
    staging = fresh_partial(work.path("release"), keep=False)
    samples = []
    for split in ("train", "val", "test"):
        labels = [
            SampleLabel(
                face_id=face_name(who, number), identity_id=who, confidence=confidence, quality=0.9,
                class_index=splits["train"].index(who) if split == "train" else -1,
            )
            for home, who, number in places if home == split
        ]  # fmt: skip
        jpegs = [encode_jpeg(np.full((112, 112, 3), 20 + 3 * n, np.uint8), 95) for n in range(len(labels))]
        written = write_shards(staging / split, zip(labels, jpegs, strict=True), samples_per_shard=4)
        samples += [
            ReleaseSample(
                split=split, shard=f"{split}/{place.shard}", row=place.row, face_id=label.face_id, footage_id="f",
                identity_id=label.identity_id, class_index=label.class_index, confidence=confidence, quality=0.9,
                sha256=place.sha256,
            )
            for label, place in zip(labels, written, strict=True)
        ]  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, samples)
    _publish(work, "release")
    return samples


def _face(number: int, *, has_crop: bool) -> Face:
    return Face(
        face_id=f"{number:032x}", footage_id="f", subset="s", pts_ms=number, bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id="t", is_best_shot=has_crop, size_px=90.0, sharpness=0.5,
        brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=f"b0/{number:032x}" if has_crop else None, detector="d", rejected=None,
    )  # fmt: skip

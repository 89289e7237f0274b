"""What a report is made from: the published tables of a root, read once. A stage that has not run gives empty ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from faceloop.reports.truth import Box
from facestore.records import (
    Assignment,
    Cluster,
    Face,
    Footage,
    IdentityState,
    Reading,
    Rejection,
    ReleaseSample,
    TrackletTemplate,
)
from facestore.tables import column_matrix, read_columns, read_table

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Where the published artifacts of one root lie."""

    footage: Path
    faces: Path
    crops: Path
    embeddings: Path
    clusters: Path
    assignments: Path
    questions: Path
    release: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A face with a crop, and what the later stages said about it."""

    face_id: str
    tracklet_id: str
    footage_id: str
    subset: str
    pts_ms: int
    size_px: float
    quality: float
    crop_key: str
    cluster_id: int  # -1: not clustered
    identity_id: str | None
    state: IdentityState
    confidence: float  # of the identity; 0 without one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Every detection in columns of equal length."""

    quality: Float32Array  # [0, 1]
    size_px: Float32Array
    is_kept: npt.NDArray[np.bool_]  # False: rejected with a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracklets:
    """Tracklet templates in rows, sorted by id, with what clustering made of them."""

    ids: tuple[str, ...]
    vectors: Float32Array  # (n, d) unit norm
    weights: Float32Array  # (n,)
    best_face_ids: tuple[str, ...]
    cluster_ids: npt.NDArray[np.int64]  # (n,), -1: not clustered
    identity_ids: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    footage: tuple[Footage, ...]  # by first location
    readings: dict[str, Reading]  # by footage_id
    rejections: tuple[Rejection, ...]  # inputs that ingest set aside, by location
    measures: Measures
    shots: tuple[Shot, ...]  # by footage location, time, face_id
    tracklets: Tracklets
    faces_of_identity: dict[str, int]  # all accepted faces, with a crop or without
    unknown_faces: int  # accepted faces that went through identify and have no identity
    release: tuple[ReleaseSample, ...]


def read_material(artifacts: Artifacts) -> Material:
    """Read the tables of a root. Pictures stay on disk. Raises DataError for a table with another schema."""
    footage = sorted(read_table(artifacts.footage, "footage", Footage), key=lambda record: record.uri)
    assigned = read_columns(artifacts.assignments, "assignments", Assignment, ("identity_id",))["identity_id"]
    counts = assigned.drop_null().value_counts().to_pylist()
    shots = _shots(artifacts, {record.footage_id: place for place, record in enumerate(footage)})
    return Material(
        footage=tuple(footage),
        readings={reading.footage_id: reading for reading in read_table(artifacts.faces, "readings", Reading)},
        rejections=tuple(
            sorted(read_table(artifacts.footage, "rejections", Rejection), key=lambda r: (r.item, r.reason))
        ),
        measures=_measures(artifacts.faces),
        shots=shots,
        tracklets=_tracklets(artifacts.embeddings, shots),
        faces_of_identity={count["values"]: count["counts"] for count in counts},
        unknown_faces=assigned.null_count,
        release=tuple(read_table(artifacts.release, "samples", ReleaseSample)),
    )


def read_boxes(faces: Path) -> list[Box]:
    """Every accepted face, as truth needs it."""
    return [Box.of(face) for face in read_table(faces, "faces", Face) if face.rejected is None]


def _measures(faces: Path) -> Measures:
    table = read_columns(faces, "faces", Face, ("quality", "size_px", "rejected"))
    return Measures(
        quality=table["quality"].to_numpy().astype(np.float32),
        size_px=table["size_px"].to_numpy().astype(np.float32),
        is_kept=np.asarray(table["rejected"].is_null().to_numpy(zero_copy_only=False), dtype=np.bool_),
    )


def _shots(artifacts: Artifacts, place_of: dict[str, int]) -> tuple[Shot, ...]:
    columns = ("face_id", "tracklet_id", "footage_id", "subset", "pts_ms", "size_px", "quality", "crop_key")
    table = read_columns(artifacts.faces, "faces", Face, columns)
    table = table.filter(table["crop_key"].is_valid())
    wanted = table["face_id"].combine_chunks()
    clusters = read_columns(artifacts.clusters, "clusters", Cluster, ("face_id", "cluster_id"))
    clusters = clusters.filter(pc.is_in(clusters["face_id"], value_set=wanted))
    cluster_of: dict[str, int] = dict(zip(*(column.to_pylist() for column in clusters.columns), strict=True))
    assignments = read_columns(artifacts.assignments, "assignments", Assignment)
    assignments = assignments.filter(pc.is_in(assignments["face_id"], value_set=wanted))
    assigned = {row["face_id"]: Assignment(**row) for row in assignments.to_pylist()}
    shots = [
        Shot(
            **row,
            cluster_id=cluster_of.get(row["face_id"], -1),
            identity_id=found.identity_id if found else None,
            state=found.state if found else "unknown",
            confidence=found.confidence if found and found.identity_id else 0.0,
        )
        for row in table.to_pylist()
        for found in (assigned.get(row["face_id"]),)
    ]
    return tuple(sorted(shots, key=lambda shot: (place_of.get(shot.footage_id, -1), shot.pts_ms, shot.face_id)))


def _tracklets(embeddings: Path, shots: Sequence[Shot]) -> Tracklets:
    columns = ("tracklet_id", "weight", "best_face_id", "embedding")
    table = read_columns(embeddings, "templates", TrackletTemplate, columns).sort_by("tracklet_id")
    said = {shot.face_id: shot for shot in shots}
    best = [said.get(face_id) for face_id in table["best_face_id"].to_pylist()]
    return Tracklets(
        ids=tuple(table["tracklet_id"].to_pylist()),
        vectors=column_matrix(table, "embedding"),
        weights=table["weight"].to_numpy().astype(np.float32),
        best_face_ids=tuple(table["best_face_id"].to_pylist()),
        cluster_ids=np.array([shot.cluster_id if shot else -1 for shot in best], dtype=np.int64),
        identity_ids=tuple(shot.identity_id if shot else None for shot in best),
    )

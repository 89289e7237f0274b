"""A small root written with the table writers: its right answers can be counted by hand.

Three people on orthogonal axes. `ann` has two tracklets, `bob` two, `cy` one; three faces a tracklet, the first two
with crops. Each tracklet is one video of its own; ann and bob got an identity, cy stays unknown.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from faceloop.params import default_params_path, read_params
from faceloop.progress import SilentProgress
from faceloop.reports.material import Artifacts
from faceloop.runner import Workspace, open_workspace
from facestore.crops import CropWriter
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun
from facestore.publish import fresh_partial, publish
from facestore.records import (
    Assignment,
    Cluster,
    Face,
    Footage,
    Identity,
    Reading,
    Rejection,
    ReleaseSample,
    TrackletTemplate,
)
from facestore.tables import write_table

HOSTILE = """album/<script>alert("x")</script> 'ünï' & "q".mp4"""
PEOPLE = ("ann", "ann", "bob", "bob", "cy")  # person of tracklet 0 … 4
IDENTITY = {"ann": "person-aaaaaaaaaaaaaaaa", "bob": "person-bbbbbbbbbbbbbbbb", "cy": None}
AXIS = {"ann": 0, "bob": 1, "cy": 2}
_STAGE = {
    "footage": "ingest",
    "faces": "detect",
    "crops": "detect",
    "embeddings": "embed",
    "clusters": "cluster",
    "assignments": "identify",
    "release": "pack",
}


def footage(number: int, uri: str, *, kind: str = "video", width: int = 640) -> Footage:
    return Footage(
        footage_id=f"footage{number}",
        batch="b000",
        uri=uri,
        locations=(uri,),
        size_bytes=10,
        kind="image" if kind == "image" else "video",
        width=width,
        height=480,
        rotation=0,
        fps=25.0 if kind == "video" else None,
        duration_s=2.0 if kind == "video" else None,
        frames=50 if kind == "video" else 1,
        codec="h264",
        captured_at=None,
        source="source",
        subset="gate" if number % 2 else "lobby",
        consent_id=None,
        keys=(),
        flags=("low_resolution",),
    )


def face(
    tracklet: int, number: int, *, has_crop: bool, box: tuple[float, ...] = (100, 100, 180, 180), **changed: str | None
) -> Face:
    name = f"t{tracklet}f{number}"
    rejected = changed.get("rejected")
    return Face(
        face_id=name,
        footage_id=changed.get("footage_id") or f"footage{tracklet}",
        subset="gate" if tracklet % 2 else "lobby",
        pts_ms=200 * number,
        bbox=box,
        landmarks=(0.0,) * 10,
        det_score=0.9,
        tracklet_id=f"tracklet{tracklet}",
        is_best_shot=has_crop,
        size_px=80.0,
        sharpness=0.5,
        brightness=0.5,
        contrast=0.2,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        occlusion=0.0,
        quality=0.9 - 0.1 * number,
        crop_key=f"b000/{name}" if has_crop else None,
        detector="test",
        rejected=rejected,
    )


def _template(tracklet: int) -> TrackletTemplate:
    vector = np.zeros(4, dtype=np.float32)
    vector[AXIS[PEOPLE[tracklet]]] = 1.0
    return TrackletTemplate(
        tracklet_id=f"tracklet{tracklet}",
        footage_id=f"footage{tracklet}",
        subset="gate",
        contract_id="contract",
        faces=2,
        weight=1.5,
        quality=0.9,
        coherence=1.0,
        best_face_id=f"t{tracklet}f0",
        embedding=tuple(vector.tolist()),
    )


@dataclass(slots=True)
class World:
    """Tables to be written; tests change what they are about."""

    footage: list[Footage] = field(
        default_factory=lambda: [footage(n, uri) for n, uri in enumerate(["a.mp4", "b.mp4", "c.mp4", "d.mp4", HOSTILE])]
    )
    rejections: list[Rejection] = field(
        default_factory=lambda: [
            Rejection(stage="ingest", item='<img src=x onerror="1">.mp4', reason="empty_file", detail=""),
            Rejection(stage="ingest", item="naïve “name”.jpg", reason="corrupt_media", detail="<b>bold</b>"),
        ]
    )
    faces: list[Face] = field(
        default_factory=lambda: [
            *(face(t, n, has_crop=n < 2) for t in range(5) for n in range(3)),
            face(0, 9, has_crop=False, rejected="too_small"),
        ]
    )
    templates: list[TrackletTemplate] = field(default_factory=lambda: [_template(t) for t in range(5)])
    identity_of_face: dict[str, str | None] = field(
        default_factory=lambda: {f"t{t}f{n}": IDENTITY[PEOPLE[t]] for t in range(5) for n in range(3)}
    )
    confidence: float = 0.9

    def write(self, root: Path, *, upto: str = "release") -> Workspace:
        """Publish every artifact up to one, and record the runs."""
        work = open_workspace(root, read_params(default_params_path()), threads=1, progress=SilentProgress())
        for name in _STAGE:
            staging = fresh_partial(work.path(name), keep=False)
            counts = self._write_one(name, staging)
            publish(work.path(name), stage=_STAGE[name], run_key=f"run-{_STAGE[name]}", counts=counts, inputs={})
            if name == upto:
                break
        ledger = Ledger(work.ledger_url())
        for stage in dict.fromkeys(_STAGE.values()):
            ledger.record(
                StageRun(
                    run_key=f"run-{stage}",
                    stage=stage,
                    params={},
                    inputs={},
                    outputs={},
                    counts={},
                    timings={"decode": 1.5, "peak_memory_mb": 321},
                    published_at=datetime(2026, 1, 1, tzinfo=UTC),
                    wall_s=2.0,
                )
            )
        ledger.close()
        return work

    def _write_one(self, name: str, staging: Path) -> dict[str, JsonValue]:
        kept = [found for found in self.faces if found.rejected is None]
        crops = [found for found in kept if found.crop_key]
        known = [found for found in kept if self.identity_of_face[found.face_id]]
        match name:
            case "footage":
                write_table(staging / "b000" / "footage.parquet", Footage, self.footage)
                write_table(staging / "rejections.parquet", Rejection, self.rejections)
                total = len(self.footage) + len(self.rejections)
                return _counts(total, len(self.footage), rejected=_reasons([r.reason for r in self.rejections]))
            case "faces":
                write_table(staging / "b000" / "faces.parquet", Face, self.faces)
                write_table(staging / "b000" / "readings.parquet", Reading, [_reading(f, kept) for f in self.footage])
                lost = [found.rejected for found in self.faces if found.rejected]
                return _counts(len(self.faces), len(kept), rejected=_reasons(lost))
            case "crops":
                with CropWriter(staging / "b000") as writer:
                    for number, found in enumerate(crops):
                        picture = np.full((64, 64, 3), number * 5 % 255, dtype=np.uint8)
                        writer.put("context", found.face_id, picture)
                return _counts(len(self.faces), len(kept), rejected={"too_small": 1})
            case "embeddings":
                write_table(staging / "b000" / "templates.parquet", TrackletTemplate, self.templates)
                return _counts(len(crops), len(crops))
            case "clusters":
                write_table(staging / "clusters.parquet", Cluster, [self._cluster(found) for found in kept])
                return _counts(len(self.templates), len(self.templates))
            case "assignments":
                rows = [self._assignment(found.face_id) for found in kept]
                write_table(staging / "assignments.parquet", Assignment, rows)
                write_table(staging / "identities.parquet", Identity, [])
                pending: dict[str, JsonValue] = {"singleton": len(kept) - len(known)} if len(kept) > len(known) else {}
                return _counts(len(kept), len(known), pending=pending)
            case _:
                samples = [self._sample(row, found) for row, found in enumerate(crops) if found in known]
                write_table(staging / "samples.parquet", ReleaseSample, samples)
                return _counts(len(crops), len(samples), pending={"unknown_identity": len(crops) - len(samples)})

    def _cluster(self, found: Face) -> Cluster:
        number = int(found.tracklet_id.removeprefix("tracklet"))
        return Cluster(
            face_id=found.face_id,
            tracklet_id=found.tracklet_id,
            cluster_id=AXIS[PEOPLE[number]] if number < len(PEOPLE) else number,
            confidence=self.confidence,
            status="clustered",
            key_group=-1,
            run_id="run-cluster",
        )

    def _assignment(self, face_id: str) -> Assignment:
        identity = self.identity_of_face[face_id]
        return Assignment(
            face_id=face_id,
            identity_id=identity,
            state="proposed" if identity else "unknown",
            confidence=self.confidence if identity else 0.0,
            source="auto",
            decision_id=None,
            via=None,
        )

    def _sample(self, row: int, found: Face) -> ReleaseSample:
        return ReleaseSample(
            split="train",
            shard="train/shard-00000.lmdb",
            row=row,
            face_id=found.face_id,
            footage_id=found.footage_id,
            identity_id=str(self.identity_of_face[found.face_id]),
            class_index=0,
            confidence=0.9,
            quality=found.quality,
            sha256="0" * 64,
        )


def _reading(record: Footage, kept: list[Face]) -> Reading:
    faces = sum(found.footage_id == record.footage_id for found in kept)
    whole = Reading(
        footage_id=record.footage_id,
        status="read",
        reason=None,
        frames_promised=50,
        frames_decoded=50,
        frames_looked_at=10,
        frames_near_duplicate=2,
        scene_cuts=1,
        faces=faces,
        faces_rejected=0,
    )
    if record.uri == "d.mp4":
        return replace(whole, status="partial", reason="fewer_frames_than_promised", frames_decoded=41)
    return whole


def _reasons(reasons: list[str]) -> dict[str, JsonValue]:
    return {reason: reasons.count(reason) for reason in reasons}


def _counts(
    items_in: int,
    published: int,
    *,
    rejected: dict[str, JsonValue] | None = None,
    pending: dict[str, JsonValue] | None = None,
) -> dict[str, JsonValue]:
    return {"in": items_in, "published": published, "rejected": rejected or {}, "pending": pending or {}}


def artifacts_of(work: Workspace) -> Artifacts:
    return Artifacts(**{name: work.path(name) for name in Artifacts.__slots__})

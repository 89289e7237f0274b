"""A root with a few faces and clusters, published with the table writers; identify itself is run for real.

`anna` is seen in tracklets ta and tb, `bert` in tc and td, `cora` once in te. One picture shows a3 and b3.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from faceloop.decision_tables import export_decisions
from faceloop.runner import Outcome, Workspace, run_stage
from facestore.ids import sha256_hex
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, Cluster, Face, Footage, Identity, TrackletTemplate
from facestore.tables import read_table, write_table

from .runner_world import open_root, tree_of

TRACKLET = {"a1": "ta", "a2": "ta", "a3": "tb", "b1": "tc", "b2": "tc", "b3": "td", "c1": "te"}
QUALITY = {"a1": 0.9, "a2": 0.8, "a3": 0.7, "b1": 0.95, "b2": 0.6, "b3": 0.5, "c1": 0.9}
PTS_MS = {"a1": 0, "a2": 200, "a3": 5_000, "b1": 8_000, "b2": 8_200, "b3": 5_000, "c1": 9_000}
CLUSTERS = {"a1": 0, "a2": 0, "a3": 0, "b1": 1, "b2": 1, "b3": 1, "c1": 2}
ID = {name: sha256_hex(name.encode())[:32] for name in TRACKLET}
NAME = {face_id: name for name, face_id in ID.items()}


def make_root(root: Path, *overrides: str) -> Workspace:
    """Footage, faces, embeddings and clusters, published; nothing decided, nobody identified yet."""
    work = open_root(root, tree_of(root / "source", *overrides))
    footage = Footage(
        footage_id="clip", batch="b000", uri="gate/walk.mp4", locations=("gate/walk.mp4",), size_bytes=1, kind="video",
        width=640, height=480, rotation=0, fps=25.0, duration_s=10.0, frames=250, codec="h264",
        captured_at=datetime(2026, 1, 1, tzinfo=UTC), source="s", subset="gate", consent_id=None, keys=(), flags=(),
    )  # fmt: skip
    _publish(work, "footage", "ingest", Footage, [footage])
    _publish(work, "faces", "detect", Face, [_face(name) for name in sorted(TRACKLET)])
    templates = [
        TrackletTemplate(
            tracklet_id=tracklet, footage_id="clip", subset="gate", contract_id="sface-1", faces=1, weight=0.9,
            quality=0.9, coherence=1.0, best_face_id=min(ID.values()), embedding=(1.0, 0.0),
        )
        for tracklet in sorted(set(TRACKLET.values()))
    ]  # fmt: skip
    _publish(work, "embeddings", "embed", TrackletTemplate, templates, table="templates")
    publish_clusters(work, CLUSTERS)
    return work


def publish_clusters(
    work: Workspace,
    cluster_of: Mapping[str, int],
    confidence: float = 0.9,
    keys: Mapping[str, int] | None = None,
) -> None:
    """What the cluster stage would say: face → cluster, and face → group of a shared key."""
    rows = [
        Cluster(
            face_id=ID[name], tracklet_id=TRACKLET[name], cluster_id=cluster, confidence=confidence,
            status="clustered", key_group=(keys or {}).get(name, -1), run_id=f"run-of-{sorted(cluster_of.values())}",
        )
        for name, cluster in sorted(cluster_of.items())
    ]  # fmt: skip
    _publish(work, "clusters", "cluster", Cluster, rows)


def identify(work: Workspace) -> Outcome:
    """Export what people said and run identify."""
    export_decisions(work)
    return run_stage(work, "identify")


def labels(work: Workspace) -> dict[str, Assignment]:
    """The published labels, by short name of the face."""
    return {NAME[row.face_id]: row for row in read_table(work.path("assignments"), "assignments", Assignment)}


def identities(work: Workspace) -> dict[str, Identity]:
    """The published identities, by id."""
    return {row.identity_id: row for row in read_table(work.path("assignments"), "identities", Identity)}


def of_face(work: Workspace, name: str) -> str:
    """The published identity of a face; it has one."""
    found = labels(work)[name].identity_id
    assert found is not None
    return found


def _face(name: str) -> Face:
    return Face(
        face_id=ID[name], footage_id="clip", subset="gate", pts_ms=PTS_MS[name], bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id=TRACKLET[name], is_best_shot=True, size_px=90.0,
        sharpness=1.0, brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0,
        quality=QUALITY[name], crop_key=None, detector="yunet", rejected=None,
    )  # fmt: skip


def _publish(
    work: Workspace, artifact: str, stage: str, record: type, rows: Sequence[object], *, table: str | None = None
) -> None:
    folder = work.path(artifact)
    name = f"{table or artifact}.parquet"
    write_table(fresh_partial(folder, keep=False) / name, record, rows)  # type: ignore[type-var]
    publish(folder, stage=stage, run_key=f"run-{stage}", counts={}, inputs={})

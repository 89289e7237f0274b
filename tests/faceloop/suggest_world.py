"""A root of six people's worth of vectors on known axes: similarities can be told by looking.

Anna (ta, tb) and Bert (tc, td) are clusters and identities; cora (te) and dora (tf) are clusters of one without an
identity. Anna lies on axis 0, Bert on 1, cora on 2; dora is 0.3 of Anna, the rest lies on axis 3. One picture shows a1
and c1.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faceloop.clustering.calibration import Calibration, as_json
from faceloop.runner import Workspace
from facereview.kinds import Candidate, Member, OddOnesOut, SamePerson, Strip, Subject, WhoIsThis, ask
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.questions import Question
from facestore.records import (
    Assignment,
    Cluster,
    ClusterNode,
    Face,
    FaceEmbedding,
    Identity,
    TrackletTemplate,
)
from facestore.tables import write_table

from .runner_world import open_root, tree_of

TRACKLET = {"a1": "ta", "a2": "ta", "a3": "tb", "b1": "tc", "b2": "td", "c1": "te", "d1": "tf"}
VECTOR = {
    "ta": (1.0, 0.0, 0.0, 0.0), "tb": (1.0, 0.0, 0.0, 0.0), "tc": (0.0, 1.0, 0.0, 0.0), "td": (0.0, 1.0, 0.0, 0.0),
    "te": (0.0, 0.0, 1.0, 0.0), "tf": (0.3, 0.0, 0.0, 0.91**0.5),
}  # fmt: skip
CLUSTERS = {"ta": 0, "tb": 0, "tc": 1, "td": 1, "te": 2, "tf": 3}
PTS_MS = {"a1": 0, "a2": 200, "a3": 5_000, "b1": 8_000, "b2": 9_000, "c1": 0, "d1": 12_000}
ANNA, BERT = "person-anna", "person-bert"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def make_root(root: Path) -> Workspace:
    """Faces, embeddings, clusters and assignments, each made from the others as a run of the stages leaves them."""
    work = open_root(root, tree_of(root / "source"))
    _publish(work, "faces", {"faces": (Face, [_face(name) for name in sorted(TRACKLET)])})
    templates = [
        TrackletTemplate(
            tracklet_id=tracklet, footage_id="clip", subset="gate", contract_id="c", faces=1, weight=1.0, quality=0.9,
            coherence=1.0, best_face_id=_first(tracklet), embedding=vector,
        )
        for tracklet, vector in VECTOR.items()
    ]  # fmt: skip
    vectors = [
        FaceEmbedding(
            face_id=name, tracklet_id=TRACKLET[name], footage_id="clip", contract_id="c",
            embedding=VECTOR[TRACKLET[name]],
        )
        for name in sorted(TRACKLET)
    ]  # fmt: skip
    _publish(work, "embeddings", {"templates": (TrackletTemplate, templates), "faces": (FaceEmbedding, vectors)})
    publish_labels(work, CLUSTERS)
    return work


def publish_labels(
    work: Workspace, cluster_of: Mapping[str, int], confidence: Mapping[str, float] | None = None
) -> None:
    """Clusters by node (a tracklet, or a face of one that was taken apart), and identities: 0 is Anna, 1 is Bert."""
    publish_clusters(work, cluster_of, confidence)
    named = {0: ANNA, 1: BERT}
    label = {name: cluster_of.get(name, cluster_of.get(tracklet, -1)) for name, tracklet in TRACKLET.items()}
    assignments = [
        Assignment(
            face_id=name, identity_id=named.get(label[name]), state="proposed", confidence=0.9, source="auto",
            decision_id=None, via=None,
        )
        for name in sorted(TRACKLET)
    ]  # fmt: skip
    identities = [
        Identity(
            identity_id=named[number], is_active=True, seed_face_id=face, faces=2, tracklets=2, footage=1, subsets=1,
            best_face_id=face, mean_confidence=0.9, confirmed_faces=0, name=None, successor=None,
        )
        for number, face in ((0, "a1"), (1, "b1"))
    ]  # fmt: skip
    _publish(work, "assignments", {"assignments": (Assignment, assignments), "identities": (Identity, identities)})


def publish_clusters(
    work: Workspace, cluster_of: Mapping[str, int], confidence: Mapping[str, float] | None = None
) -> None:
    """Clusters alone: the assignments that were made from others stay behind."""
    sure = confidence or {}
    nodes = [
        ClusterNode(
            node_id=node, cluster_id=label, subcentre=max(label, 0), confidence=sure.get(node, 0.9), hubness=0.0,
            drop_reason=None, template_crc=0,
        )
        for node, label in sorted(cluster_of.items())
    ]  # fmt: skip
    rows = [
        Cluster(
            face_id=name, tracklet_id=tracklet, cluster_id=cluster_of.get(name, cluster_of.get(tracklet, -1)),
            confidence=sure.get(name, sure.get(tracklet, 0.9)), status="clustered", key_group=-1, run_id="run",
        )
        for name, tracklet in sorted(TRACKLET.items())
    ]  # fmt: skip
    _publish(work, "clusters", {"nodes": (ClusterNode, nodes), "clusters": (Cluster, rows)}, calibration=_calibration())


def say(work: Workspace, *decisions: Decision) -> None:
    """Append to the decision log."""
    log = DecisionLog(work.ledger_url())
    log.append(decisions)
    log.close()


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


def question(subject: Subject, **changes: object) -> Question:
    """As it was pushed: nobody knew anything, the machine half believed it."""
    facts: dict[str, object] = {"subset": "gate", "reason": "unknown_pair", "model_version": "as pushed"}
    facts |= {"chance": 0.5, "gain": 1.0, "seconds": 4.0, **changes}
    return ask(subject, **facts)  # type: ignore[arg-type]


def pair(first: str, second: str, chance: float = 0.5) -> SamePerson:
    return SamePerson(left=strip(first), right=strip(second), similarity=0.123, chance=chance)


def strip(*faces: str) -> Strip:
    return Strip(face_ids=faces)


def grid(reference: str, members: Mapping[str, float], doubtful: Sequence[str] = ()) -> OddOnesOut:
    return OddOnesOut(
        reference=strip(reference),
        members=tuple(
            Member(face_id=name, chance=chance, is_doubtful=name in doubtful) for name, chance in members.items()
        ),
    )


def probe(face: str, *candidates: str) -> WhoIsThis:
    return WhoIsThis(
        probe=strip(face),
        candidates=tuple(Candidate(strip=strip(name), similarity=0.1, chance=0.2) for name in candidates),
    )


def _first(tracklet: str) -> str:
    return min(name for name, seen in TRACKLET.items() if seen == tracklet)


def _calibration() -> str:
    return as_json(
        [
            Calibration(
                contract_id="c", impostor_mean=0.0, impostor_sd=0.1, impostor_pairs=100, people=10,
                same_picture_mean=None, same_picture_pairs=0, genuine_mean=None, genuine_pairs=0, method="m",
                source="s",
            )
        ]
    )  # fmt: skip


def _face(name: str) -> Face:
    return Face(
        face_id=name, footage_id="clip", subset="gate", pts_ms=PTS_MS[name], bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id=TRACKLET[name], is_best_shot=True, size_px=90.0,
        sharpness=1.0, brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=None, detector="yunet", rejected=None,
    )  # fmt: skip


_INPUTS = {
    "faces": (),
    "embeddings": ("faces",),
    "clusters": ("faces", "embeddings"),
    "assignments": ("faces", "clusters"),
}


def _publish(
    work: Workspace, artifact: str, tables: Mapping[str, tuple[type, Sequence[object]]], calibration: str | None = None
) -> None:
    folder = work.path(artifact)
    staging = fresh_partial(folder, keep=False)
    for name, (record, rows) in tables.items():
        write_table(staging / f"{name}.parquet", record, rows)  # type: ignore[type-var]
    if calibration is not None:
        (staging / "calibration.json").write_text(calibration, encoding="utf-8")
    manifests = {source: read_manifest(work.path(source)) for source in _INPUTS[artifact]}
    inputs = {source: manifest.digest for source, manifest in manifests.items() if manifest is not None}
    publish(folder, stage=artifact, run_key=f"run-{artifact}", counts={}, inputs=inputs)

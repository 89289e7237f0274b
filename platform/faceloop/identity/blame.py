"""Why a face has its label: the decision, tie, cluster, model, run and picture that it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facestore.decisions import Decision, IdentityEvent, Review
from facestore.publish import read_manifest
from facestore.records import Assignment, Cluster, Face, Footage, TrackletTemplate
from facestore.tables import read_columns, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Everything that one label rests on, outermost first. None where there is nothing of the kind."""

    label: Assignment  # as published
    identity_id: str | None  # now, with events since
    identity_name: str | None
    decision: Decision | None
    spoken_faces: tuple[str, ...]  # that the decision names: the face itself, or its mates
    events: tuple[IdentityEvent, ...]  # that moved this face, oldest first
    reviews: tuple[Review, ...]
    cluster: Cluster | None
    mates: int  # other faces of its cluster
    contract_id: str | None
    face: Face
    footage: Footage | None
    run_keys: tuple[tuple[str, str], ...]  # (artifact, run key), in order of the flow


def trace(
    label: Assignment,
    *,
    identity_id: str | None,
    identity_name: str | None,
    artifacts: Sequence[tuple[str, Path]],
    decisions: Iterable[Decision],
    events: Iterable[IdentityEvent],
    reviews: Iterable[Review],
) -> Origin:
    """Gather what a label rests on from the published `artifacts` (name, folder) and the logs.

    Raises DataError when a table is not what it should be.
    """
    folder = dict(artifacts)
    name = label.face_id
    face = next(row for row in read_table(folder["faces"], "faces", Face) if row.face_id == name)
    footage = (row for row in read_table(folder["footage"], "footage", Footage) if row.footage_id == face.footage_id)
    clusters = [row for row in read_table(folder["clusters"], "clusters", Cluster) if row.face_id == name]
    members = read_columns(folder["clusters"], "clusters", Cluster, ("cluster_id",))["cluster_id"].to_pylist()
    contracts = read_columns(folder["embeddings"], "templates", TrackletTemplate, ("tracklet_id", "contract_id"))
    used = dict(zip(contracts["tracklet_id"].to_pylist(), contracts["contract_id"].to_pylist(), strict=True))
    decision = next((said for said in decisions if said.decision_id == label.decision_id), None)
    manifests = ((artifact, read_manifest(path)) for artifact, path in artifacts)
    cluster = clusters[0] if clusters else None
    return Origin(
        label=label,
        identity_id=identity_id,
        identity_name=identity_name,
        decision=decision,
        spoken_faces=tuple(end for end in (decision.face_id, decision.other_face_id) if end) if decision else (),
        events=tuple(event for event in events if name in event.face_ids),
        reviews=tuple(review for review in reviews if review.face_id == name),
        cluster=cluster,
        mates=members.count(cluster.cluster_id) - 1 if cluster and cluster.cluster_id >= 0 else 0,
        contract_id=used.get(face.tracklet_id),
        face=face,
        footage=next(footage, None),
        run_keys=tuple((artifact, manifest.run_key) for artifact, manifest in manifests if manifest is not None),
    )

"""From published tables to the situation that questions are made from. Nothing is clustered anew."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration, builtin_calibration, read_calibrations
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.identity.gather import read_roster
from faceloop.identity.roster import Roster, SeenFace
from faceloop.questions.audits import Detected, FrameSeen, lot
from faceloop.questions.situation import Sight, Situation
from facestore.decisions import Decision
from facestore.errors import DataError
from facestore.records import Assignment, Cluster, ClusterNode, ClusterTie, Face, Footage, Proposal
from facestore.tables import read_columns

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
_CALIBRATION = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Folders of published tables."""

    footage: Path
    faces: Path
    embeddings: Path
    clusters: Path
    assignments: Path


def read_sights(faces: Path) -> list[Sight]:
    """The accepted faces, in the order of their table."""
    plain = (
        "face_id", "footage_id", "subset", "pts_ms", "tracklet_id", "quality", "yaw", "pitch", "occlusion",
    )  # fmt: skip
    table = read_columns(faces, "faces", Face, (*plain, "crop_key", "rejected"))
    table = table.filter(pc.is_null(table["rejected"]))
    has_crop = pc.is_valid(table["crop_key"]).to_pylist()
    rows = table.select(list(plain)).to_pylist()
    return [Sight(**row, has_crop=crop) for row, crop in zip(rows, has_crop, strict=True)]


def read_situation(
    places: Artifacts,
    sights: Sequence[Sight],
    effective: Sequence[Decision],
    aliases: Mapping[str, str],
    *,
    shots: int,
) -> Situation:
    """The last clustering, with the labels that people's word gave it. `shots` faces of a node are kept to be shown.

    Raises DataError for a clustering without its calibration.
    """
    seen = [
        SeenFace(
            face_id=sight.face_id,
            footage_id=sight.footage_id,
            pts_ms=sight.pts_ms,
            tracklet_id=sight.tracklet_id,
            quality=sight.quality,
            has_crop=sight.has_crop,
        )
        for sight in sights
    ]
    roster, contract_id = read_roster(places.embeddings, seen, effective, aliases)
    given = _clustered(places.clusters, roster)
    proposals = read_columns(places.clusters, "proposals", Proposal).to_pylist()
    label_of = {face: int(given.labels[row]) for face, row in roster.node_of_face.items() if given.labels[row] >= 0}
    identity_of_label, confirmed = _identities(places.assignments, label_of)
    return Situation(
        given=given,
        confidence=_confidence(places.clusters, roster),
        calibration=_calibration(places.clusters, contract_id, is_needed=given.count > 0),
        shots=_shots(sights, roster, shots),
        sight_of={sight.face_id: sight for sight in sights},
        identity_of_label=identity_of_label,
        confirmed=confirmed,
        differing={
            roster.node_of_face[row["first_face_id"]]: row["score"]
            for row in proposals
            if row["reason"] == "models_differ" and row["first_face_id"] in roster.node_of_face
        },
        shared_keys={
            (row["first_cluster"], row["second_cluster"]): int(row["score"])
            for row in proposals
            if row["reason"] == "shared_key" and row["first_cluster"] < row["second_cluster"]
        },
        model_version=contract_id,
    )


def groups_of_faces(clusters: Path) -> dict[str, str]:
    """Face → its cluster, of those that have one: two questions about the same clusters ask one thing."""
    table = read_columns(clusters, "clusters", Cluster, ("face_id", "cluster_id"))
    rows = zip(table["face_id"].to_pylist(), table["cluster_id"].to_pylist(), strict=True)
    return {face: str(cluster) for face, cluster in rows if cluster >= 0}


def draw_frames(
    places: Artifacts, size: int, seed: int, purpose: str, withheld: Collection[str] = ()
) -> Iterator[FrameSeen]:
    """Up to `size` frames and photos drawn at random with all that was detected there, in the order of the draw.

    Drawn are photos, and frames of clips in which something was detected; no `withheld` footage.
    """
    footage = read_columns(places.footage, "footage", Footage, ("footage_id", "kind", "subset", "width", "height"))
    about = {row["footage_id"]: row for row in footage.to_pylist()}
    moments = read_columns(places.faces, "faces", Face, ("footage_id", "pts_ms"))
    frames = set(zip(moments["footage_id"].to_pylist(), moments["pts_ms"].to_pylist(), strict=True))
    frames |= {(name, 0) for name, row in about.items() if row["kind"] == "image"}
    known = [frame for frame in frames if frame[0] in about and frame[0] not in withheld]
    drawn = sorted(known, key=lambda frame: lot(seed, purpose, *frame))[:size]
    detected: dict[tuple[str, int], list[Detected]] = defaultdict(list)
    columns = ("face_id", "footage_id", "pts_ms", "bbox", "landmarks", "det_score")
    table = read_columns(places.faces, "faces", Face, columns)
    wanted = set(drawn)
    is_drawn = [
        moment in wanted for moment in zip(table["footage_id"].to_pylist(), table["pts_ms"].to_pylist(), strict=True)
    ]
    for row in table.filter(np.array(is_drawn, np.bool_)).to_pylist():
        found = Detected(
            face_id=row["face_id"],
            bbox=tuple(row["bbox"]),
            landmarks=tuple(row["landmarks"]),
            det_score=row["det_score"],
        )
        detected[row["footage_id"], row["pts_ms"]].append(found)
    for name, pts_ms in drawn:
        row = about[name]
        yield FrameSeen(
            footage_id=name,
            pts_ms=pts_ms,
            subset=row["subset"],
            width=row["width"],
            height=row["height"],
            detected=tuple(sorted(detected[name, pts_ms], key=lambda one: one.face_id)),
        )


def _clustered(clusters: Path, roster: Roster) -> Clustered:
    row_of = {node: row for row, node in enumerate(roster.nodes.node_ids)}
    count = len(row_of)
    labels, hubness = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    table = read_columns(clusters, "nodes", ClusterNode, ("node_id", "cluster_id", "hubness"))
    rows = np.array([row_of.get(node, -1) for node in table["node_id"].to_pylist()], np.int64)
    labels[rows[rows >= 0]] = table["cluster_id"].to_numpy()[rows >= 0]
    hubness[rows[rows >= 0]] = table["hubness"].to_numpy()[rows >= 0]
    ties = read_columns(clusters, "ties", ClusterTie)
    ends = np.array(
        [[row_of.get(node, -1) for node in ties[name].to_pylist()] for name in ("first_node_id", "second_node_id")],
        np.int64,
    ).T.reshape(-1, 2)
    is_same, is_here = np.array(ties["is_same"].to_pylist(), np.bool_), (ends >= 0).all(axis=1)
    faces = np.bincount(list(roster.node_of_face.values()), minlength=count).astype(np.int64)
    return Clustered(
        nodes=roster.nodes,
        labels=labels,
        hubness=hubness,
        faces=faces,
        constraints=Constraints(must_link=ends[is_same & is_here], cannot_link=ends[~is_same & is_here]),
    )


def _confidence(clusters: Path, roster: Roster) -> Float32Array:
    """Of each node, with the committee's word: that of its faces."""
    confidence = np.zeros(len(roster.nodes.node_ids), np.float32)
    table = read_columns(clusters, "clusters", Cluster, ("face_id", "confidence"))
    rows = np.array([roster.node_of_face.get(face, -1) for face in table["face_id"].to_pylist()], np.int64)
    confidence[rows[rows >= 0]] = table["confidence"].to_numpy()[rows >= 0]
    return confidence


def _calibration(clusters: Path, contract_id: str, *, is_needed: bool) -> Calibration:
    path = clusters / _CALIBRATION
    if path.is_file():
        found = read_calibrations(path.read_text(encoding="utf-8"), str(path))
        if contract_id in found:
            return found[contract_id]
    if is_needed:
        raise DataError(f"{path} has no calibration of embedding contract {contract_id}; run cluster again")
    return builtin_calibration()


def _identities(assignments: Path, label_of: Mapping[str, int]) -> tuple[dict[int, str], frozenset[str]]:
    """Label → identity of most of its faces; identities of which people confirmed a face."""
    table = read_columns(assignments, "assignments", Assignment, ("face_id", "identity_id", "state", "source"))
    votes: dict[int, Counter[str]] = defaultdict(Counter)
    confirmed = set()
    for row in table.to_pylist():
        label, identity = label_of.get(row["face_id"]), row["identity_id"]
        if identity is None:
            continue
        if label is not None:
            votes[label][identity] += 1
        if row["state"] == "confirmed" and row["source"] != "auto":
            confirmed.add(identity)
    most = {label: min(count, key=lambda name: (-count[name], name)) for label, count in sorted(votes.items())}
    return most, frozenset(confirmed)


def _shots(sights: Sequence[Sight], roster: Roster, size: int) -> list[tuple[str, ...]]:
    """Faces with a crop of each node, best quality first, then smallest id."""
    shown: list[list[tuple[float, str]]] = [[] for _ in roster.nodes.node_ids]
    for sight in sights:
        row = roster.node_of_face.get(sight.face_id)
        if row is not None and sight.has_crop:
            shown[row].append((-sight.quality, sight.face_id))
    return [tuple(face for _, face in sorted(faces)[:size]) for faces in shown]

"""gather: published tables to a roster of nodes, with people's word taken in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.identity.evidence import pairs_of, tracklets_apart
from faceloop.identity.roster import FaceVectors, Roster, SeenFace, Templates, build_roster, opened_tracklets
from facestore.decisions import Decision
from facestore.errors import ContractMismatch
from facestore.records import Face, FaceEmbedding, NearDuplicate, TrackletTemplate
from facestore.tables import column_matrix, destroyed_owners, read_columns

_LEAVES_OUT = {"not_a_face": "not_a_face", "ignore": "ignored"}
_ERASED = "key_destroyed"


def seen_faces(faces: Path) -> list[SeenFace]:
    """The accepted faces of a faces table, in its order."""
    columns = ("face_id", "footage_id", "pts_ms", "tracklet_id", "quality", "crop_key", "rejected")
    table = read_columns(faces, "faces", Face, columns)
    table = table.filter(table["rejected"].is_null())
    has_crop = table["crop_key"].is_valid().to_pylist()
    plain = table.select(["face_id", "footage_id", "pts_ms", "tracklet_id", "quality"]).to_pylist()
    return [SeenFace(**row, has_crop=crop) for row, crop in zip(plain, has_crop, strict=True)]


def read_roster(
    embeddings: Path, faces: Sequence[SeenFace], effective: Sequence[Decision], aliases: Mapping[str, str]
) -> tuple[Roster, str]:
    """Nodes of the published templates, and their embedding contract ("" without any).

    Raises ContractMismatch for templates of several contracts.
    """
    templates, contract_id = _templates(embeddings)
    tracklet_of = {face.face_id: face.tracklet_id for face in faces}
    left_out = {
        decision.face_id: reason
        for decision in effective
        if (reason := _LEAVES_OUT.get(decision.verb)) and decision.face_id in tracklet_of
    }
    apart = tracklets_apart(effective, aliases, tracklet_of)
    opened = opened_tracklets(faces, left_out, apart)
    roster = build_roster(
        faces,
        templates,
        _face_vectors(embeddings, opened, templates.vectors.shape[1]),
        left_out=left_out,
        apart=apart,
        named=pairs_of(effective, aliases).faces,
        repeats=set(read_columns(embeddings, "near_duplicates", NearDuplicate, ("face_id",))["face_id"].to_pylist()),
    )
    if unreadable := destroyed_owners(embeddings, "templates", TrackletTemplate):
        theirs = {face for face, tracklet in tracklet_of.items() if tracklet in unreadable}
        why = {
            face: _ERASED if face in theirs and reason == "no_embedding" else reason
            for face, reason in roster.left_out.items()
        }
        roster = replace(roster, left_out=why)
    return roster, contract_id


def _templates(embeddings: Path) -> tuple[Templates, str]:
    table = read_columns(embeddings, "templates", TrackletTemplate)
    contracts = sorted(set(table["contract_id"].to_pylist()))
    if len(contracts) > 1:
        raise ContractMismatch(
            f"templates of {len(contracts)} embedding contracts ({', '.join(contracts)}) cannot be compared; "
            "run embed again over all batches"
        )
    templates = Templates(
        tracklet_ids=tuple(table["tracklet_id"].to_pylist()),
        subsets=tuple(table["subset"].to_pylist()),
        vectors=column_matrix(table, "embedding"),
        weights=np.asarray(table["weight"].to_numpy(), dtype=np.float32),
        quality=np.asarray(table["quality"].to_numpy(), dtype=np.float32),
    )
    return templates, contracts[0] if contracts else ""


def _face_vectors(embeddings: Path, tracklets: set[str], dim: int) -> FaceVectors:
    if not tracklets:
        return FaceVectors(face_ids=(), vectors=np.empty((0, dim), np.float32))
    table = read_columns(embeddings, "faces", FaceEmbedding, ("face_id", "tracklet_id", "embedding"))
    table = table.filter(pc.is_in(table["tracklet_id"], value_set=pa.array(sorted(tracklets))))
    vectors = column_matrix(table, "embedding")
    return FaceVectors(face_ids=tuple(table["face_id"].to_pylist()), vectors=vectors.reshape(-1, dim))

"""What a shadow of a root would change, read from its artifacts; and ids that a way back must not forget."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from faceloop.identity.impact import (
    Impact,
    StrainedDecision,
    measure_impact,
    strained_decisions,
    stranger_ceiling,
    violated_decisions,
)
from faceloop.identity.resolve import aliases_of
from faceloop.runner import Workspace
from facestore.decisions import Decision, IdentityEvent
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.records import Assignment, Face, Identity, TrackletTemplate
from facestore.tables import column_matrix, read_columns, read_table, write_table


def compare(work: Workspace, shadow: Workspace) -> Impact:
    """The published labels of `work` against those of its shadow, under the decisions as exported."""
    effective = list(read_table(work.path("decisions"), "effective", Decision))
    aliases = aliases_of(list(read_table(work.path("decisions"), "events", IdentityEvent)))
    after = list(read_table(shadow.path("assignments"), "assignments", Assignment))
    return measure_impact(
        read_table(work.path("assignments"), "assignments", Assignment),
        after,
        strained=_strained(effective, after, faces=work.path("faces"), embeddings=shadow.path("embeddings")),
        violated=violated_decisions(effective, after, aliases=aliases),
    )


def _strained(
    effective: list[Decision], after: list[Assignment], *, faces: Path, embeddings: Path
) -> list[StrainedDecision]:
    """Decisions against which the vectors speak: strangers, as the new labels say who they are, give the measure."""
    templates = read_columns(embeddings, "templates", TrackletTemplate, ("tracklet_id", "embedding"))
    templates = templates.sort_by("tracklet_id")
    vectors = column_matrix(templates, "embedding")
    row_of_tracklet = {name: row for row, name in enumerate(templates["tracklet_id"].to_pylist())}
    table = read_columns(faces, "faces", Face, ("face_id", "tracklet_id"))
    row_of_face = {
        face: row_of_tracklet[tracklet]
        for face, tracklet in zip(table["face_id"].to_pylist(), table["tracklet_id"].to_pylist(), strict=True)
        if tracklet in row_of_tracklet
    }
    code_of = {name: code for code, name in enumerate(sorted({str(row.identity_id) for row in after}))}
    identity = np.full(len(vectors), -1, np.int64)
    for row in after:
        if row.identity_id is not None and row.face_id in row_of_face:
            identity[row_of_face[row.face_id]] = code_of[row.identity_id]
    ceiling = stranger_ceiling(vectors, identity)
    return [] if ceiling is None else strained_decisions(effective, row_of_face, vectors, threshold=ceiling)


def keep_ids(restored: Path, live: Path) -> None:
    """Before assignments come back: identities that exist only in the live ones join them as tombstones.

    Their successor is who held the same face first, so that an id once given is never given again.
    """
    known = {identity.identity_id: identity for identity in read_table(restored, "identities", Identity)}
    fresh = [row for row in read_table(live, "identities", Identity) if row.identity_id not in known]
    manifest = read_manifest(restored)
    if not fresh or manifest is None:
        return
    identity_of = {row.face_id: row.identity_id for row in read_table(restored, "assignments", Assignment)}
    tombstones = [
        replace(row, is_active=False, successor=identity_of.get(row.seed_face_id, row.successor)) for row in fresh
    ]
    staging = fresh_partial(restored, keep=False)
    shutil.copytree(restored, staging, dirs_exist_ok=True)
    everyone = sorted([*known.values(), *tombstones], key=lambda identity: identity.identity_id)
    write_table(staging / "identities.parquet", Identity, everyone)
    publish(restored, stage=manifest.stage, run_key=manifest.run_key, counts=manifest.counts, inputs=manifest.inputs)

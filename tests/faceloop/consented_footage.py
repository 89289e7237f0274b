"""Footage of a published root that names consents after all, as a source manifest would have said it."""

from collections.abc import Mapping
from dataclasses import replace

from faceloop.runner import Workspace
from facestore.ids import sha256_hex
from facestore.publish import read_manifest, write_manifest
from facestore.records import Footage
from facestore.tables import read_table, write_table


def name_consents(work: Workspace, consent_of: Mapping[str, str]) -> None:
    """`consent_of`: face of the mining world → consents of its footage."""
    named = {sha256_hex(face_id.encode()): consent for face_id, consent in consent_of.items()}
    folder = work.path("footage")
    before = read_manifest(folder)
    assert before is not None
    rows = list(read_table(folder, "footage", Footage))
    write_table(
        folder / "footage.parquet", Footage, [replace(row, consent_id=named.get(row.footage_id)) for row in rows]
    )
    write_manifest(folder, stage=before.stage, run_key=before.run_key, counts=before.counts, inputs=before.inputs)

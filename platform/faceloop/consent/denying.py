"""A galleries' consumer stops answering with people as their consents end: denials beside the galleries.

A denial is written before a withdrawal is recorded and again after it: whoever is killed, or records at the same time,
leaves the person out. It covers the whole identity; the next gallery holds what is left of it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from faceloop.consent_gate import PURPOSES_OF
from faceloop.export.gallery_denials import deny, lift_denial
from faceloop.export.gallery_shelf import GALLERIES
from faceloop.runner import Workspace
from facestore.consenting import consents_named
from facestore.consents import Consents, Standing
from facestore.publish import read_manifest
from facestore.records import Face, Footage
from facestore.tables import read_columns


def deny_consents(work: Workspace, consent_ids: Collection[str]) -> int:
    """From now on no gallery of the root answers with anybody whose faces lie in footage under these consents.

    Returns how many faces that are. Raises StoreError when the disk fails: then withdraw nothing, and try again.
    """
    faces = faces_under(work, consent_ids)
    for name, theirs in faces.items():
        deny(work.root / GALLERIES, _reason(name), theirs)
    return len(set().union(*faces.values()))


def settle(work: Workspace, standings: Mapping[str, Standing], now: datetime, *, lifts: bool) -> None:
    """Denials as these consents stand: at once, from their end on, or with `lifts` none any more."""
    faces = faces_under(work, standings)
    for name, found in standings.items():
        last = found.last
        allows = last.kind == "given" and last.said_at <= now and set(PURPOSES_OF["gallery"]) <= set(last.purposes)
        if name in faces and (not allows or last.expires_at is not None):
            deny(work.root / GALLERIES, _reason(name), faces[name], since=last.expires_at if allows else None)
        elif lifts and allows:
            lift_denial(work.root / GALLERIES, _reason(name))


def settle_all(work: Workspace) -> None:
    """The same for every consent of the catalogue, as a gallery begins to count; lifts none."""
    consents = Consents(work.ledger_url())
    try:
        settle(work, consents.standings(), consents.now(), lifts=False)
    finally:
        consents.close()


def faces_under(work: Workspace, consent_ids: Collection[str]) -> dict[str, set[str]]:
    """Consent → faces of the footage that names it; consents without any are left out."""
    if not consent_ids or read_manifest(work.path("footage")) is None or read_manifest(work.path("faces")) is None:
        return {}
    rows = read_columns(work.path("footage"), "footage", Footage, ("footage_id", "consent_id")).to_pylist()
    wanted = set(consent_ids)
    named = {row["footage_id"]: wanted & set(consents_named(row["consent_id"])) for row in rows}
    theirs = sorted(footage for footage, some in named.items() if some)
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "footage_id"))
    table = table.filter(pc.is_in(table["footage_id"], pa.array(theirs, pa.string())))
    found: dict[str, set[str]] = {}
    for row in table.to_pylist():
        for name in named[row["footage_id"]]:
            found.setdefault(name, set()).add(row["face_id"])
    return found


def _reason(consent_id: str) -> str:
    return f"consent {consent_id}"

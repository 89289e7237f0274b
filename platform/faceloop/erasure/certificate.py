"""The certificate of an erasure: what went, where it was looked for, what is left and why. Counts, no id, no name."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from faceloop.erasure.copies import Copies
from faceloop.erasure.needles import Searched
from faceloop.erasure.planning import ERASURES, Plan
from faceloop.restriction.papers import write_text
from faceloop.runner import Workspace
from facestore.ciphers import Signer, is_signed
from facestore.erasures import CERTIFICATE, Erasure, Erasures
from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json, sha256_hex
from facestore.models import Models
from facestore.peppers import known_pepper
from facestore.records import Face
from facestore.refs import subject_ref
from facestore.tables import read_columns

KIND = "erasure (GDPR Art. 17)"
_IN_USE, _OTHERS = "retrain", "retire"  # what to do with a model that learned from the person


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was certified. `place`: relative to the root."""

    erasure_id: str
    faces: int
    files_searched: int
    bytes_searched: int
    place: str
    sha256: str  # of the paper without it, its signature and its key


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """How a certificate holds now."""

    is_unchanged: bool  # and its signature, if it has one, is by its key
    public_key: str | None  # hex, of who signed it: compare it with the one that is known
    is_known: bool  # the catalogue has the erasure, ended
    faces_back: int  # faces of the root's tables that were erased

    @property
    def holds(self) -> bool:
        return self.is_unchanged and self.is_known and not self.faces_back


def write_certificate(
    work: Workspace,
    plan: Plan,
    erasure: Erasure,
    found: Searched,
    copies: Copies,
    *,
    now: datetime,
    signer: Signer | None,
    references_sha256: str,
) -> Certificate:
    """Write `erasures/ID/certificate.json`, once the search found nothing."""
    body: dict[str, JsonValue] = {
        "kind": KIND,
        "erasure": erasure.erasure_id,
        "subject_ref": erasure.subject_ref,
        "asked_by": erasure.asked_by,
        "reason": erasure.reason,
        "found_by": plan.finding.as_json(),
        "asked_at": erasure.asked_at.isoformat(),
        "certified_at": now.isoformat(),
        "erased": {
            "faces": len(plan.face_ids),
            "tracklets": len(plan.tracklet_ids),
            "footage": len(plan.footage_ids),
            "footage_with_others": len(plan.shared_footage_ids),
        },
        "steps": dict(erasure.steps),
        "searched": {
            "needles": len(plan.needles),
            "files": found.files,
            "bytes": found.size_bytes,
            "held": len(found.held),
        },
        "releases_that_held_samples": list(plan.releases),
        "models": _models(work, plan),
        "left": list(_left(plan, erasure, copies)),
        "references_sha256": references_sha256,
    }
    digest = sha256_hex(canonical_json(body).encode())
    place = f"{ERASURES}/{erasure.erasure_id}/{CERTIFICATE}"
    paper = {**body, "sha256": digest, **_signed(signer, digest)}
    write_text(work.root / place, json.dumps(paper, indent=1, sort_keys=True) + "\n")
    return Certificate(
        erasure_id=erasure.erasure_id,
        faces=len(plan.face_ids),
        files_searched=found.files,
        bytes_searched=found.size_bytes,
        place=place,
        sha256=digest,
    )


def read_certificate(work: Workspace, erasure_id: str) -> Certificate:
    """The certificate that was written for an erasure. Raises DataError where it is gone or cannot be read."""
    place = f"{ERASURES}/{erasure_id}/{CERTIFICATE}"
    try:
        paper = json.loads((work.root / place).read_text(encoding="utf-8"))
        return Certificate(
            erasure_id=str(paper["erasure"]),
            faces=int(paper["erased"]["faces"]),
            files_searched=int(paper["searched"]["files"]),
            bytes_searched=int(paper["searched"]["bytes"]),
            place=place,
            sha256=str(paper["sha256"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place} cannot be read ({type(error).__name__}), though the erasure is done; restore it from a backup"
        ) from error


def verify_certificate(work: Workspace, path: Path) -> Verified:
    """Look whether a certificate is as it was written, and whether a face of it came back. Raises DataError."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        said = str(body.pop("sha256"))
        signature, public_key = str(body.pop("signature", "")), str(body.pop("public_key", ""))
        is_signed_right = not signature or is_signed(bytes.fromhex(public_key), said.encode(), bytes.fromhex(signature))
        erasure_id = str(body["erasure"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name} is no certificate ({type(error).__name__}); give a certificate.json") from error
    table = read_columns(work.path("faces"), "faces", Face, ("face_id",))
    pepper = known_pepper(work.ledger_url(), work.root)
    refs = {subject_ref(pepper, face_id) for face_id in table["face_id"].to_pylist()}
    journal = Erasures(work.ledger_url())
    try:
        known = {one.erasure_id: one.state for one in journal.all()}
        back = journal.erased_faces(refs)
    finally:
        journal.close()
    return Verified(
        is_unchanged=is_signed_right and sha256_hex(canonical_json(body).encode()) == said,
        public_key=public_key or None,
        is_known=known.get(erasure_id) == "done",
        faces_back=len(back),
    )


def _signed(signer: Signer | None, digest: str) -> dict[str, JsonValue]:
    """Ed25519 (RFC 8032) over the digest's 64 hex digits."""
    if signer is None:
        return {}
    return {"signature": signer.sign(digest.encode()).hex(), "public_key": signer.public_key().hex()}


def _models(work: Workspace, plan: Plan) -> list[JsonValue]:
    """Models that learned from the person, or may have: the promoted one is to be trained anew, the others go."""
    models = Models(work.ledger_url())
    try:
        used = models.current()
    finally:
        models.close()
    in_use = used.model_id if used is not None else None
    return [{"model": one, "policy": _IN_USE if one == in_use else _OTHERS} for one in plan.models]


def _left(plan: Plan, erasure: Erasure, copies: Copies) -> list[str]:
    lines = []
    media = erasure.steps.get("media")
    if isinstance(media, dict) and media.get("source_files_left"):
        lines.append(f"{media['source_files_left']} files at the source, which is the user's own")
    steps = [what for what in erasure.steps.values() if isinstance(what, dict)]
    lines += [str(what["then"]) for what in steps if what.get("then")]
    lines += copies.elsewhere
    if plan.shared_footage_ids:
        lines.append(f"{len(plan.shared_footage_ids)} files showed others too: their media went, others' faces stay")
    encrypted = erasure.steps.get("keys")
    is_encrypted = isinstance(encrypted, dict) and encrypted.get("encrypted") is True
    lines.append(
        "backups and copies elsewhere hold crops and vectors that nobody can read: their keys are destroyed; media, "
        "tables and names in them are readable"
        if is_encrypted
        else "backups, exports and copies outside this root were not looked into: remove them by their own rules"
    )
    return lines

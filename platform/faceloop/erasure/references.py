"""What is left of an erasure beside its certificate: keyed references, by which what was erased is known again.

They stand in the catalogue, too. A catalogue that is restored from before an erasure has lost them; this file, in the
root or in a copy of its `erasures/` elsewhere, gives them back. Without the pepper it tells nobody anything.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from faceloop.erasure.planning import ERASURES, Plan
from faceloop.restriction.papers import write_text
from faceloop.runner import Workspace
from facestore.ciphers import is_signed
from facestore.erasures import CERTIFICATE, Erasure, Erasures
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue, canonical_json, sha256_hex
from facestore.peppers import known_pepper, pepper_check
from facestore.refs import subject_ref

REFERENCES = "references.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One erasure as its two files tell it."""

    erasure: Erasure  # done
    pepper_check: str
    footage_refs: frozenset[str]
    face_refs: frozenset[str]


def bury(work: Workspace, plan: Plan, journal: Erasures) -> str:
    """Keep references to what is erased, in the catalogue and beside the certificate, which names the sha256 of theirs:
    it is returned."""
    pepper = known_pepper(work.ledger_url(), work.root)
    footage = {subject_ref(pepper, one) for one in (*plan.footage_ids, *plan.shared_footage_ids)}
    faces = {subject_ref(pepper, one) for one in plan.face_ids}
    journal.bury(footage_refs=footage, face_refs=faces)
    said: dict[str, JsonValue] = {
        "erasure": plan.erasure_id,
        "pepper_check": pepper_check(pepper),
        "footage_refs": [*sorted(footage)],
        "face_refs": [*sorted(faces)],
    }
    text = canonical_json(said) + "\n"
    write_text(work.root / ERASURES / plan.erasure_id / REFERENCES, text)
    return sha256_hex(text.encode())


def read_papers(folder: Path) -> list[Paper]:
    """Every erasure that has a certificate below a folder, the earliest first.

    Raises DataError for one whose files were changed, or lack the other.
    """
    found = [_read(path) for path in sorted(folder.glob(f"*/{CERTIFICATE}"))]
    return sorted(found, key=lambda paper: (paper.erasure.asked_at, paper.erasure.erasure_id))


def remember(work: Workspace, papers: Collection[Paper]) -> list[str]:
    """Give a catalogue the erasures that it does not know, each whole: their ids.

    Raises ConfigError where they were made with another pepper.
    """
    if not papers:
        return []
    check = pepper_check(known_pepper(work.ledger_url(), work.root))
    if others := sorted(paper.erasure.erasure_id for paper in papers if paper.pepper_check != check):
        raise ConfigError(
            f"erasure {others[0]} was made with another pepper than this root's, so nobody is known again by it; put "
            "that pepper back"
        )
    journal = Erasures(work.ledger_url())
    try:
        return [
            paper.erasure.erasure_id
            for paper in papers
            if journal.remember(paper.erasure, footage_refs=paper.footage_refs, face_refs=paper.face_refs)
        ]
    finally:
        journal.close()


def _read(path: Path) -> Paper:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        said = str(body.pop("sha256"))
        signature, public_key = body.pop("signature", None), body.pop("public_key", None)
        if sha256_hex(canonical_json(body).encode()) != said or not _is_by_its_key(said, signature, public_key):
            raise ValueError("it was changed after it was written")
        text = (path.with_name(REFERENCES)).read_text(encoding="utf-8")
        if sha256_hex(text.encode()) != body["references_sha256"]:
            raise ValueError(f"{REFERENCES} beside it was changed")
        refs = json.loads(text)
        return Paper(
            erasure=Erasure(
                erasure_id=str(body["erasure"]),
                subject_ref=str(body["subject_ref"]),
                asked_by=str(body["asked_by"]),
                reason=str(body["reason"]),
                state="done",
                asked_at=datetime.fromisoformat(body["asked_at"]),
                steps=dict(body["steps"]),
            ),
            pepper_check=str(refs["pepper_check"]),
            footage_refs=frozenset(map(str, refs["footage_refs"])),
            face_refs=frozenset(map(str, refs["face_refs"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path.parent.name}/{path.name} cannot be used ({error}); take this erasure's files from another copy"
        ) from error


def _is_by_its_key(digest: str, signature: object, public_key: object) -> bool:
    if signature is None:
        return True
    return is_signed(bytes.fromhex(str(public_key)), digest.encode(), bytes.fromhex(str(signature)))

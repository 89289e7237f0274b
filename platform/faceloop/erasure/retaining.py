"""What becomes of people when nothing may be held of them any more: their consents end, then they are handed over.

A person is handed over only where every face of theirs lies in footage whose consents all have ended: the machine
cannot tell whose consent it was where others' still stand. The rest is counted; somebody decides.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from faceloop.consent.denying import deny_consents
from faceloop.consent.gate_digest import renew_gate
from faceloop.consent.retention import Due
from faceloop.consent_gate import ConsentParams
from faceloop.erasure.saga import Means, begin, go_on
from faceloop.params import section
from faceloop.restriction.restricting import restrict
from faceloop.restriction.subject import Situation, find_subject, read_situation
from faceloop.runner import Workspace
from facestore.auditlog import AuditLog
from facestore.consenting import consents_named
from facestore.consents import Consents
from facestore.publish import read_manifest
from facestore.records import Face, Footage
from facestore.tables import read_columns

ENDED = "retention_ended"  # reason code of withdrawal, restriction, erasure; action of the audit log
_PURPOSE = "storage_limitation"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What a sweep did. Counts."""

    withdrawn: int
    subjects: int  # restricted or erased by this call
    faces: int  # of them
    subjects_elsewhere: int  # also seen where a consent stands: left for somebody to decide


def hand_over(work: Workspace, found: Iterable[Due], means: Means, *, by: str) -> HandedOver:
    """End the consents, then restrict or erase whom they concern, as `consent.after_retention` says; killed, call it
    again.

    Every step that changed something leaves an entry in the audit log. Raises what `restrict` and `go_on` raise.
    """
    ended = sorted(found, key=lambda one: one.consent_id)
    consents, log = Consents(work.ledger_url()), AuditLog(work.ledger_url())
    withdrawn = subjects = faces = 0
    try:
        deny_consents(work, [one.consent_id for one in ended])  # galleries in use stop before anything is recorded
        for one in ended:
            if one.is_given and consents.withdraw(consent_id=one.consent_id, reason=ENDED, by=by):
                withdrawn += 1
                log.append(
                    who=by, action=ENDED, purpose=_PURPOSE, subject_ref=one.subject_ref, what={"consents_withdrawn": 1}
                )
        renew_gate(work)
        then = section(work.tree, "consent", ConsentParams).after_retention
        whole, elsewhere = concerned(work, [one.consent_id for one in ended])
        for subject_id in whole:
            changed = (
                _restricted(work, subject_id, means, by) if then == "restrict" else _erased(work, subject_id, means, by)
            )
            if changed:
                subjects, faces = subjects + 1, faces + changed
                log.append(who=by, action=ENDED, purpose=_PURPOSE, what={"then": then, "faces": changed})
    finally:
        consents.close()
        log.close()
    return HandedOver(withdrawn=withdrawn, subjects=subjects, faces=faces, subjects_elsewhere=len(elsewhere))


def concerned(work: Workspace, consent_ids: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Subject ids, sorted: people seen only in footage whose consents are all among these, and people seen there and
    elsewhere. Nobody before identify has run."""
    if read_manifest(work.path("assignments")) is None:
        return (), ()
    ended = _footage_of(work, set(consent_ids))
    if not ended:
        return (), ()
    situation = read_situation(work)
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "footage_id")).to_pylist()
    theirs = {row["face_id"] for row in table if row["footage_id"] in ended} & situation.tracklet_of.keys()
    whole: set[str] = set()
    elsewhere: set[str] = set()
    for subject_id, face_ids in _subjects(situation, theirs):
        (whole if theirs >= set(face_ids) else elsewhere).add(subject_id)
    return tuple(sorted(whole)), tuple(sorted(elsewhere))


def _footage_of(work: Workspace, ended: Collection[str]) -> set[str]:
    rows = read_columns(work.path("footage"), "footage", Footage, ("footage_id", "consent_id")).to_pylist()
    named = {row["footage_id"]: consents_named(row["consent_id"]) for row in rows}
    return {footage_id for footage_id, consents in named.items() if consents and set(consents) <= set(ended)}


def _subjects(situation: Situation, face_ids: Collection[str]) -> Iterable[tuple[str, tuple[str, ...]]]:
    left = set(face_ids)
    while left:
        face_id = min(left)
        subject = find_subject(situation, face_id)
        left -= {face_id, *subject.face_ids}
        yield subject.subject_id, subject.face_ids


def _restricted(work: Workspace, subject_id: str, means: Means, by: str) -> int:
    return restrict(work, subject_id, by=by, reason=ENDED, now=means.clock()).newly


def _erased(work: Workspace, subject_id: str, means: Means, by: str) -> int:
    plan = begin(work, subject_id, by=by, reason=ENDED, clock=means.clock)
    return go_on(work, plan.erasure_id, means).faces

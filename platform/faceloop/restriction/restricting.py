"""Stop further use of a person's faces, and take that back: restriction of processing, GDPR Art. 18. No byte goes.

Each face gets an `ignore` decision; labels, questions and releases leave it out from the next run on. Decisions that
would hold against it (`same`, `is`) are retracted with it, and return when the restriction is lifted.
"""

from dataclasses import dataclass
from datetime import datetime

from faceloop.decision_tables import with_decision_log
from faceloop.export.gallery_denials import deny, lift_denial
from faceloop.export.gallery_shelf import GALLERIES
from faceloop.restriction.inventory import as_json, take_inventory
from faceloop.restriction.papers import FOUND, LIFTED, write_paper
from faceloop.restriction.subject import (
    Situation,
    Subject,
    find_subject,
    note_of,
    read_situation,
    reason_of,
    restricted_by,
    speaking_of,
    standing_of_subject,
)
from faceloop.runner import Workspace, hold
from facestore.decisions import Decision, decide
from facestore.errors import DataError
from facestore.ids import JsonValue

_PATIENCE_S = 60.0
_AGAINST = ("same", "is")  # what cannot stand beside `ignore`


@dataclass(frozen=True, slots=True, kw_only=True)
class Restricted:
    """What applying came to."""

    subject_id: str
    faces: int  # that are restricted now
    newly: int  # of them, by this call
    retracted: int  # decisions of people that would have held against it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifted:
    subject_id: str
    faces: int  # whose restriction was taken back
    returned: int  # decisions of people that count again


def restrict(work: Workspace, text: str | frozenset[str], *, by: str, reason: str, now: datetime) -> Restricted:
    """Restrict the subject that `text` names, or these faces. Applied again, it adds only what is missing: faces that
    came since, or that somebody's later word brought back. Raises what `find_subject` raises, and DataError for a
    reason that is no code."""
    with hold(work, "restrict", wait_s=_PATIENCE_S):
        situation = read_situation(work)
        subject = find_subject(situation, text)
        decisions = plan(situation, subject, by=by, reason=reason, now=now)
        deny(work.root / GALLERIES, _denial(subject), subject.face_ids)  # galleries in use stop before it is written
        newly = sum(decision.verb == "ignore" for decision in decisions)
        if newly:
            found = {
                "subject": subject.subject_id,
                "at": now.isoformat(),
                **as_json(take_inventory(work, situation, subject)),
            }
            write_paper(work.root, subject.subject_id, FOUND, found, only_new=bool(_ignores(situation, subject)))
        if decisions:
            with_decision_log(work, lambda log: log.append(decisions))
    return Restricted(
        subject_id=subject.subject_id,
        faces=len(subject.face_ids),
        newly=newly,
        retracted=len(decisions) - newly,
    )


def plan(situation: Situation, subject: Subject, *, by: str, reason: str, now: datetime) -> list[Decision]:
    """The decisions that are missing: none when every face is restricted and nothing speaks against it."""
    note = note_of(subject.subject_id, reason)
    in_force = restricted_faces(situation, subject.subject_id)
    missing = [face for face in subject.face_ids if face not in in_force]
    gone = {*situation.resolution.retracted, *situation.resolution.superseded}
    against = [
        said
        for said in speaking_of(situation.logs.decisions, subject.face_ids)
        if said.verb in _AGAINST and said.decision_id not in gone
    ]
    return [
        *(decide("retract", retracts=said.decision_id, annotator=by, decided_at=now, note=note) for said in against),
        *(decide("ignore", face_id=face, annotator=by, decided_at=now, note=note) for face in missing),
    ]


def restricted_faces(situation: Situation, subject_id: str) -> set[str]:
    """Faces whose restriction stands and is in force: no other decision outweighs it."""
    return {
        str(decision.face_id)
        for decision in situation.resolution.effective
        if decision.verb == "ignore" and restricted_by(decision, situation.aliases) == subject_id
    }


def lift(work: Workspace, text: str, *, by: str, now: datetime) -> Lifted:
    """Take a restriction back: its decisions are retracted, and what it had retracted counts again.

    Raises DataError where none stands.
    """
    with hold(work, "restrict", wait_s=_PATIENCE_S):
        situation = read_situation(work)
        subject = find_subject(situation, text)
        standing = standing_of_subject(situation, subject.subject_id)
        if not standing:
            raise DataError(f"{subject.subject_id} is not restricted; nothing was written")
        taken_back = [
            decide("retract", retracts=said.decision_id, annotator=by, decided_at=now, note=f"lifts {said.note}")
            for said in standing
        ]
        with_decision_log(work, lambda log: log.append(taken_back))
        lift_denial(work.root / GALLERIES, _denial(subject))
        faces = len({said.face_id for said in standing if said.verb == "ignore"})
        returned = sum(said.verb == "retract" for said in standing)
        paper: dict[str, JsonValue] = {
            "subject": subject.subject_id,
            "by": by,
            "at": now.isoformat(),
            "faces": faces,
            "returned": returned,
        }
        write_paper(work.root, subject.subject_id, LIFTED, paper, only_new=False)
    return Lifted(subject_id=subject.subject_id, faces=faces, returned=returned)


def _ignores(situation: Situation, subject: Subject) -> list[Decision]:
    return [said for said in standing_of_subject(situation, subject.subject_id) if said.verb == "ignore"]


def _denial(subject: Subject) -> str:
    return f"restriction {subject.subject_id}"


def why(decisions: list[Decision]) -> list[str]:
    """The reason codes of restricting decisions, each once, sorted."""
    return sorted({reason_of(said) for said in decisions} - {""})

"""Who is meant: an identity by its id or name, or somebody on a face; as a subject id and all faces that are theirs.

The record of a restriction is in the decision log: `ignore` decisions whose note names the subject. An identity whose
faces are all left out is empty at the next run of identify; the notes still say whose they were.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from faceloop.decision_tables import Logs, policy_of, read_logs
from faceloop.identity.current import Current, read_current
from faceloop.identity.resolve import RESTRICTION, Resolution, aliases_of
from faceloop.runner import Workspace
from facestore.decisions import Decision
from facestore.errors import DataError, StageError
from facestore.ids import digest_of
from facestore.publish import read_manifest
from facestore.records import Face
from facestore.tables import read_columns

_NOTE = re.compile(r"restriction (?P<subject>\S+): (?P<reason>[a-z][a-z0-9_]*)")
_TRACKLET = "tracklet-"
_CHOSEN = "faces-"
_CHOSEN_HEX = 16
_FEWEST_HEX = 6  # of a prefix that stands for a face


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Labels, logs and faces as they are now."""

    current: Current
    logs: Logs
    resolution: Resolution
    aliases: dict[str, str]  # merged identity → the one that remains
    tracklet_of: dict[str, str]  # accepted faces only


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One person as far as the platform tells people apart."""

    subject_id: str  # identity id, or `tracklet-` and the id of a tracklet without identity, or `faces-` and a digest
    face_ids: tuple[str, ...]  # accepted faces, sorted


def read_situation(work: Workspace) -> Situation:
    """Raises StageError before identify has run."""
    if read_manifest(work.path("assignments")) is None:
        raise StageError(f"restrict: no identities in {work.root}; run the flow up to identify first")
    logs = read_logs(work)
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "tracklet_id", "rejected"))
    table = table.filter(table["rejected"].is_null())
    return Situation(
        current=read_current(faces=work.path("faces"), assignments=work.path("assignments"), events=logs.events),
        logs=logs,
        resolution=logs.resolved(policy_of(work)),
        aliases=aliases_of(logs.events),
        tracklet_of=dict(zip(table["face_id"].to_pylist(), table["tracklet_id"].to_pylist(), strict=True)),
    )


def note_of(subject_id: str, reason: str) -> str:
    """The note of a decision that restricts a subject. Raises DataError for a reason that is no code."""
    note = f"{RESTRICTION}{subject_id}: {reason}"
    if _NOTE.fullmatch(note) is None:
        raise DataError(f"reason {reason!r} is no code; give one of small letters, digits and _, such as person_asked")
    return note


def restricted_by(decision: Decision, aliases: dict[str, str]) -> str | None:
    """The subject that a decision restricts; None for any other decision."""
    found = _NOTE.fullmatch(decision.note or "")
    return aliases.get(found["subject"], found["subject"]) if found else None


def reason_of(decision: Decision) -> str:
    """The code that a restricting decision gives; empty for any other."""
    found = _NOTE.fullmatch(decision.note or "")
    return found["reason"] if found else ""


def standing_of_subject(situation: Situation, subject_id: str) -> list[Decision]:
    """Decisions of its restriction that nobody took back, by time: what they say may be set aside by others."""
    gone = {*situation.resolution.retracted}
    gone |= {str(said.retracts) for said in situation.logs.decisions if said.verb == "retract"}
    return [
        decision
        for decision in situation.logs.decisions
        if restricted_by(decision, situation.aliases) == subject_id and decision.decision_id not in gone
    ]


def chosen_id(face_ids: Collection[str]) -> str:
    """The subject id of faces that somebody chose one by one."""
    return _CHOSEN + digest_of([*sorted(set(face_ids))])[:_CHOSEN_HEX]


def find_subject(situation: Situation, text: str | frozenset[str]) -> Subject:
    """The subject of an identity id, a name, a face id, or the unique beginning of an id; or these faces and no others,
    whoever they were taken for.

    Raises DataError for none or several, for a face that is not there. The message never holds the name.
    """
    if isinstance(text, frozenset):
        return _chosen(situation, text)
    subject_id = _subject_id(situation, text)
    theirs = {face.face_id for face in situation.current.faces() if face.identity_id == subject_id}
    theirs |= {str(decision.face_id) for decision in standing_of_subject(situation, subject_id) if decision.face_id}
    if subject_id.startswith(_TRACKLET):
        theirs |= _of_tracklets(situation, {subject_id.removeprefix(_TRACKLET)})
    tracklets = {situation.tracklet_of[face] for face in theirs if face in situation.tracklet_of}
    nobodys = {face.face_id for face in situation.current.faces() if face.identity_id is None}
    if not subject_id.startswith(_CHOSEN):
        theirs |= _of_tracklets(situation, tracklets) & nobodys  # one tracklet is one person
    faces = tuple(sorted(theirs & situation.tracklet_of.keys()))
    if not faces:
        raise DataError(f"{subject_id} has no faces, and none is restricted for it; `faceloop identities list` has ids")
    return Subject(subject_id=subject_id, face_ids=faces)


def _chosen(situation: Situation, face_ids: frozenset[str]) -> Subject:
    if not face_ids:
        raise DataError("no face is named; nothing was written")
    if unknown := face_ids - situation.tracklet_of.keys():
        raise DataError(
            f"{len(unknown)} of {len(face_ids)} faces, {min(unknown)} first, are not accepted faces of this root; "
            "the table of faces lists them"
        )
    return Subject(subject_id=chosen_id(face_ids), face_ids=tuple(sorted(face_ids)))


def _subject_id(situation: Situation, text: str) -> str:
    if text.startswith((_TRACKLET, _CHOSEN)):
        return text
    is_hex = re.fullmatch(r"[0-9a-f]+", text) is not None
    fits = [face for face in situation.tracklet_of if face.startswith(text)] if is_hex else []
    if len(text) >= _FEWEST_HEX and len(fits) == 1:
        return _of_face(situation, fits[0])
    try:
        identity = situation.current.identity(text)
    except DataError as error:
        raise DataError(
            "no single identity, name or face is meant; give an identity id, or the id of a face, "
            f"or at least {_FEWEST_HEX} of its first digits"
        ) from error
    return situation.aliases.get(identity, identity)


def _of_face(situation: Situation, face_id: str) -> str:
    for decision in situation.resolution.effective:
        if decision.face_id == face_id and (found := restricted_by(decision, situation.aliases)):
            return found
    identity = situation.current.replayed.identity_of.get(face_id)
    return identity or f"{_TRACKLET}{situation.tracklet_of[face_id]}"


def _of_tracklets(situation: Situation, tracklets: Iterable[str]) -> set[str]:
    wanted = set(tracklets)
    return {face for face, tracklet in situation.tracklet_of.items() if tracklet in wanted}


def speaking_of(decisions: Sequence[Decision], faces: Iterable[str]) -> list[Decision]:
    """Decisions that name one of these faces, in their order."""
    wanted = set(faces)
    return [said for said in decisions if said.face_id in wanted or said.other_face_id in wanted]

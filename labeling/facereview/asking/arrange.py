"""A new suggestion on a task that people may be looking at: numbers change, faces keep their places.

An answer says "the third candidate". Were the third one another by the time it arrives, it would be misread.
"""

from dataclasses import replace

from facereview.kinds import (
    Attributes,
    Landmarks,
    OddOnesOut,
    SamePerson,
    Strip,
    Subject,
    WhoIsThis,
    ask,
    expected_answer,
    subject_of,
)
from facestore.questions import Question


def as_asked(new: Question, asked: Question) -> Question:
    """`new` with its faces where `asked` shows them, and the same pictures. Both have one question id.

    Raises DataError for a subject that is none of its kind.
    """
    return ask(
        _arranged(subject_of(new), subject_of(asked)),
        subset=new.subset,
        reason=new.reason,
        reason_detail=new.reason_detail,
        model_version=new.model_version,
        chance=new.chance,
        gain=new.gain,
        seconds=new.seconds,
        needs=asked.needs,
        expected=expected_answer(asked),
        rank=new.rank,
    )


def _arranged(new: Subject, asked: Subject) -> Subject:
    match new, asked:
        case SamePerson(), SamePerson():
            return replace(new, left=_shown_as(new.left, asked.left), right=_shown_as(new.right, asked.right))
        case OddOnesOut(), OddOnesOut():
            members = {member.face_id: member for member in new.members}
            placed = tuple(members.get(old.face_id, old) for old in asked.members)
            return replace(new, reference=_shown_as(new.reference, asked.reference), members=placed)
        case WhoIsThis(), WhoIsThis():
            candidates = {candidate.strip.face_ids[0]: candidate for candidate in new.candidates}
            now = [(candidates.get(old.strip.face_ids[0], old), old) for old in asked.candidates]
            kept = tuple(replace(found, strip=_shown_as(found.strip, old.strip)) for found, old in now)
            return replace(new, probe=_shown_as(new.probe, asked.probe), candidates=kept)
        case Attributes(), Attributes():
            return replace(new, strip=_shown_as(new.strip, asked.strip))
        case Landmarks(), Landmarks() if new.view == asked.view:
            return new
        case _:
            return asked  # a frame's boxes are where they are; points of another cut-out mean nothing in this one


def _shown_as(new: Strip, asked: Strip) -> Strip:
    return replace(new, face_ids=asked.face_ids)

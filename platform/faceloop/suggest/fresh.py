"""The suggestion for a question as things stand: the same faces in the same places, new chances and marks."""

import json
import math
from dataclasses import replace

from pydantic import TypeAdapter

from faceloop.suggest.likeness import Standing, likeness, nearest_identities
from facereview.answers.claims import BOX, LANDMARKS, MISSED_FACE
from facereview.kinds import (
    Attributes,
    Boxes,
    FaceBox,
    Landmarks,
    Member,
    OddOnesOut,
    Prediction,
    SamePerson,
    Strip,
    Subject,
    WhoIsThis,
    subject_of,
)
from facereview.services.suggestion import NearIdentity, Suggestion
from facestore.ids import JsonValue, canonical_json
from facestore.questions import Question

NEAREST = 5  # identities that are named for a face
_EVEN = 0.5


def fresh_suggestion(question: Question, standing: Standing) -> Suggestion:
    """What to suggest now. Raises DataError for a subject that is none of its kind.

    A honeypot, and a question that decisions cite, keep the suggestion with which they were asked: people's word must
    not be handed to the next annotator as the machine's opinion.
    """
    if question.expected is not None or question.question_id in standing.word.answered:
        return Suggestion(question=replace(question, model_version=standing.version), nearest=())
    subject = subject_of(question)
    fresh = fresh_subject(subject, standing)
    chance = question.chance if fresh == subject else chance_of(fresh, question.chance)
    asked = replace(question, subject=_spelled(fresh), chance=chance, model_version=standing.version)
    return Suggestion(question=asked, nearest=_nearest(fresh, standing))


def fresh_subject(subject: Subject, standing: Standing) -> Subject:
    """The subject with similarities, chances, marks, values and boxes of now. What nothing is known of stays."""
    match subject:
        case SamePerson():
            found = likeness(standing, subject.left, subject.right)
            return subject if found is None else replace(subject, similarity=found.similarity, chance=found.chance)
        case OddOnesOut():
            return _odd_ones_out(subject, standing)
        case WhoIsThis():
            return _who_is_this(subject, standing)
        case Attributes():
            return _attributes(subject, standing)
        case Boxes():
            return _boxes(subject, standing)
        case Landmarks():
            points = _numbers(standing.word.attributes.get((subject.face_id, LANDMARKS)), 10)
            return subject if points is None else replace(subject, points=points)


def chance_of(subject: Subject, otherwise: float) -> float:
    """That the answer which is filled in is right; `otherwise` where the subject has no chances."""
    match subject:
        case SamePerson(chance=chance):
            return max(chance, 1 - chance)
        case OddOnesOut(members=members):
            return math.prod(1 - member.chance if member.is_doubtful else member.chance for member in members)
        case WhoIsThis(candidates=candidates):
            chances = [candidate.chance for candidate in candidates]
            return min(max(*chances, 1 - sum(chances)), 1.0) if chances else otherwise
        case _:
            return otherwise


def doubt_below(members: tuple[Member, ...]) -> float:
    """The chance below which the question marked its members; 0.5 where its marks follow no single bound."""
    marked = max(
        (math.nextafter(member.chance, math.inf) for member in members if member.is_doubtful), default=-math.inf
    )
    free = min((member.chance for member in members if not member.is_doubtful), default=math.inf)
    if marked > free:
        return _EVEN
    return (
        max(marked, min(free, (marked + free) / 2)) if math.isfinite(marked + free) else min(max(marked, _EVEN), free)
    )


def _odd_ones_out(subject: OddOnesOut, standing: Standing) -> OddOnesOut:
    bound = doubt_below(subject.members)
    members = []
    for member in subject.members:
        found = likeness(standing, subject.reference, Strip(face_ids=(member.face_id,)))
        chance = member.chance if found is None else found.chance
        is_no_face = member.face_id in standing.word.no_faces
        members.append(replace(member, chance=chance, is_doubtful=chance < bound or is_no_face))
    return replace(subject, members=tuple(members))


def _who_is_this(subject: WhoIsThis, standing: Standing) -> WhoIsThis:
    """At most one candidate is the probe, so chances add up to 1 at most."""
    candidates = []
    for candidate in subject.candidates:
        now = likeness(standing, subject.probe, candidate.strip)
        candidates.append(
            candidate if now is None else replace(candidate, similarity=now.similarity, chance=now.chance)
        )
    total = max(1.0, sum(candidate.chance for candidate in candidates))
    return replace(
        subject, candidates=tuple(replace(candidate, chance=candidate.chance / total) for candidate in candidates)
    )


def _attributes(subject: Attributes, standing: Standing) -> Attributes:
    """What people said of the face that is asked about, instead of what the model gave it."""
    face_id = subject.strip.face_ids[0]
    said = {name: value for (face, name), value in standing.word.attributes.items() if face == face_id}
    said = {name: value for name, value in said.items() if name not in (BOX, LANDMARKS, MISSED_FACE)}
    kept = [prediction for prediction in subject.predictions if prediction.name not in said]
    known = [Prediction(name=name, value=value, score=1.0) for name, value in sorted(said.items())]
    return replace(subject, predictions=(*kept, *known)) if known else subject


def _boxes(subject: Boxes, standing: Standing) -> Boxes:
    """Without what people called no face, with edges where they moved them, and with faces that they found."""
    word = standing.word
    boxes = []
    for box in subject.boxes:
        edges = _numbers(word.attributes.get((box.face_id, BOX)), 4)
        if box.face_id not in word.no_faces:
            boxes.append(
                box if edges is None else FaceBox(face_id=box.face_id, bbox=(edges[0], edges[1], edges[2], edges[3]))
            )
    shown = {box.face_id for box in subject.boxes}
    for (face_id, name), value in sorted(word.attributes.items()):
        if name == MISSED_FACE and face_id not in shown and (found := _missed(face_id, value, subject)) is not None:
            boxes.append(found)
    return replace(subject, boxes=tuple(boxes))


def _spelled(subject: Subject) -> str:
    plain: JsonValue = TypeAdapter(type(subject)).dump_python(subject, mode="json")
    return canonical_json(plain)


def _missed(face_id: str, value: str, subject: Boxes) -> FaceBox | None:
    try:
        told = json.loads(value)
        x1, y1, x2, y2 = (float(edge) for edge in told["bbox"])
        is_here = told["footage_id"] == subject.footage_id and told["pts_ms"] == subject.pts_ms
    except (ValueError, TypeError, KeyError):
        return None  # another hand wrote it: no reason to hold up an annotator
    return FaceBox(face_id=face_id, bbox=(x1, y1, x2, y2)) if is_here else None


def _numbers(text: str | None, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(part) for part in (text or "").split(","))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _nearest(subject: Subject, standing: Standing) -> tuple[NearIdentity, ...]:
    faces: tuple[str, ...] = ()
    match subject:
        case SamePerson(left=left, right=right):
            faces = (left.face_ids[0], right.face_ids[0])
        case WhoIsThis(probe=probe):
            faces = (probe.face_ids[0],)
    return tuple(near for face in faces for near in nearest_identities(standing, face, NEAREST))

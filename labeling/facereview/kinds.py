"""The kinds of questions: what each is about, as typed values, and their JSON. Faces and identity ids, never names."""

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from facestore.errors import DataError
from facestore.ids import ID_HEX, JsonValue, canonical_json, digest_of
from facestore.questions import Question, QuestionKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Best shots of one tracklet or identity. The answer is about the first; the others help to see."""

    face_ids: tuple[str, ...]  # at least 1
    identity_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamePerson:
    """Do the two strips show one person?"""

    left: Strip
    right: Strip
    similarity: float  # cosine, [-1, 1]
    chance: float  # that they are one person, [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of a proposed identity."""

    face_id: str
    chance: float  # that it belongs, [0, 1]
    is_doubtful: bool  # marked beforehand


@dataclass(frozen=True, slots=True, kw_only=True)
class OddOnesOut:
    """Which members are not the person of the reference strip?"""

    reference: Strip
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Somebody whom the probe may be."""

    strip: Strip
    similarity: float
    chance: float  # that the probe is this person, [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoIsThis:
    """Which candidate is the probe, if any?"""

    probe: Strip
    candidates: tuple[Candidate, ...]  # most likely first


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A value that a model gives an attribute."""

    name: str
    value: str
    score: float  # [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What holds of the face? The names and values to choose from are the schema's."""

    strip: Strip
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBox:
    """A detection: x1, y1, x2, y2 in px of the frame as displayed."""

    face_id: str
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Which faces of a frame were missed, which boxes are wrong?"""

    footage_id: str
    pts_ms: int
    width: int  # px
    height: int
    boxes: tuple[FaceBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """Are the five points right? In px of the frame as displayed; the picture shows `view` of it."""

    face_id: str
    footage_id: str
    pts_ms: int
    view: tuple[int, int, int, int]  # x1, y1, x2, y2 of the frame, px: what is cut out and shown
    points: tuple[float, ...]  # 5 × (x, y): image-left eye, right eye, nose, mouth left, right


Subject = SamePerson | OddOnesOut | WhoIsThis | Attributes | Boxes | Landmarks


@dataclass(frozen=True, slots=True, kw_only=True)
class SamePersonAnswer:
    verdict: Literal["same", "different", "unsure", "left_unusable", "right_unusable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OddOnesOutAnswer:
    verdict: Literal["sorted", "unsure"]
    strangers: tuple[str, ...] = ()  # face ids, in the question's order
    not_faces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoIsThisAnswer:
    verdict: Literal["candidate", "someone_new", "unsure", "unusable"]
    candidate: int | None = None  # its place, from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeValue:
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesAnswer:
    verdict: Literal["described", "unusable"]
    values: tuple[AttributeValue, ...] = ()  # those that were said, by name


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxesAnswer:
    wrong: tuple[str, ...]  # face ids of boxes that hold no face, sorted
    moved: tuple[FaceBox, ...]  # by more than the tolerance, sorted by face id
    missed: tuple[tuple[float, float, float, float], ...]  # x1, y1, x2, y2 in px of the frame, sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarksAnswer:
    verdict: Literal["placed", "unusable"]
    points: tuple[float, ...] = ()  # 5 × (x, y) in px of the frame


Answer = SamePersonAnswer | OddOnesOutAnswer | WhoIsThisAnswer | AttributesAnswer | BoxesAnswer | LandmarksAnswer

Loaded = TypeVar("Loaded")
_SUBJECTS: dict[QuestionKind, type[Subject]] = {
    "same_person": SamePerson,
    "odd_ones_out": OddOnesOut,
    "who_is_this": WhoIsThis,
    "attributes": Attributes,
    "boxes": Boxes,
    "landmarks": Landmarks,
}
_ANSWERS: dict[QuestionKind, type[Answer]] = {
    "same_person": SamePersonAnswer,
    "odd_ones_out": OddOnesOutAnswer,
    "who_is_this": WhoIsThisAnswer,
    "attributes": AttributesAnswer,
    "boxes": BoxesAnswer,
    "landmarks": LandmarksAnswer,
}
# made once: it takes a hundred times as long as their work
_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    kind: TypeAdapter(kind) for kind in (*_SUBJECTS.values(), *_ANSWERS.values())
}


def ask(
    subject: Subject,
    *,
    subset: str,
    reason: str,
    model_version: str,
    chance: float,
    gain: float,
    seconds: float,
    needs: int = 1,
    reason_detail: str = "",
    expected: Answer | None = None,
    rank: int = 0,
) -> Question:
    """The question about a subject, with its id. A pair in either order is one question: the smaller face stands left.

    Raises DataError for a question that compares a face with itself, or shows none.
    """
    if isinstance(subject, SamePerson) and subject.right.face_ids[:1] < subject.left.face_ids[:1]:
        subject = SamePerson(
            left=subject.right, right=subject.left, similarity=subject.similarity, chance=subject.chance
        )
    kind = kind_of(subject)
    asked = asked_faces(subject)
    if len(set(asked)) < len(asked) or ("" in asked) or not (asked or kind == "boxes"):
        raise DataError(f"a question of kind {kind} names a face twice or none: {', '.join(asked)}")
    return Question(
        question_id=_id_of(kind, subject, asked, is_honeypot=expected is not None),
        kind=kind,
        subject=_dump(subject),
        subset=subset,
        reason=reason,
        reason_detail=reason_detail,
        model_version=model_version,
        chance=chance,
        gain=gain,
        seconds=seconds,
        needs=needs,
        expected=None if expected is None else dump_answer(expected),
        rank=rank,
    )


def kind_of(subject: Subject) -> QuestionKind:
    return next(kind for kind, cls in _SUBJECTS.items() if isinstance(subject, cls))


def asked_faces(subject: Subject) -> tuple[str, ...]:
    """The faces that an answer is about, as the question orders them. Further shots of a strip are not among them."""
    match subject:
        case SamePerson(left=left, right=right):
            return (left.face_ids[0], right.face_ids[0])
        case OddOnesOut(reference=reference, members=members):
            return (reference.face_ids[0], *(member.face_id for member in members))
        case WhoIsThis(probe=probe, candidates=candidates):
            return (probe.face_ids[0], *(candidate.strip.face_ids[0] for candidate in candidates))
        case Attributes(strip=strip):
            return (strip.face_ids[0],)
        case Boxes(boxes=boxes):
            return tuple(box.face_id for box in boxes)
        case Landmarks(face_id=face_id):
            return (face_id,)


def shown_faces(subject: Subject) -> tuple[str, ...]:
    """Every face whose picture is shown; of a frame those with a box."""
    match subject:
        case SamePerson(left=left, right=right):
            return (*left.face_ids, *right.face_ids)
        case OddOnesOut(reference=reference, members=members):
            return (*reference.face_ids, *(member.face_id for member in members))
        case WhoIsThis(probe=probe, candidates=candidates):
            return (*probe.face_ids, *(face for candidate in candidates for face in candidate.strip.face_ids))
        case Attributes(strip=strip):
            return strip.face_ids
        case _:
            return asked_faces(subject)


def subject_of(question: Question) -> Subject:
    """Raises DataError for a subject that is none of its kind."""
    return _load(question.subject, _SUBJECTS[question.kind], f"question {question.question_id}")


def dump_answer(answer: Answer) -> str:
    """Canonical JSON."""
    return _dump(answer)


def load_answer(kind: QuestionKind, text: str) -> Answer:
    """Raises DataError for a text that is no answer of the kind."""
    return _load(text, _ANSWERS[kind], f"an answer to {kind}")


def expected_answer(question: Question) -> Answer | None:
    """Of a honeypot the right answer, else None."""
    return None if question.expected is None else load_answer(question.kind, question.expected)


def _id_of(kind: QuestionKind, subject: Subject, asked: tuple[str, ...], *, is_honeypot: bool) -> str:
    parts: list[JsonValue] = [kind, list(asked) if kind in ("same_person", "boxes") else [asked[0], *sorted(asked[1:])]]
    if isinstance(subject, Boxes):
        parts += [subject.footage_id, subject.pts_ms]
    if is_honeypot:
        parts.append("honeypot")
    return digest_of(parts)[:ID_HEX]


def _dump(value: Subject | Answer) -> str:
    plain: JsonValue = _ADAPTERS[type(value)].dump_python(value, mode="json")
    return canonical_json(plain)


def _load(text: str, kind: type[Loaded], what: str) -> Loaded:
    try:
        return _ADAPTERS[kind].validate_json(text, strict=False)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise DataError(f"{what} is not what its kind says: {error.errors()[0]['msg']}; make it with `ask`") from error

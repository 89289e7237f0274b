"""What an answer says, as claims: the verb and subject of a decision before anybody knows whether it will stand."""

from dataclasses import dataclass, replace

from facereview.kinds import (
    Answer,
    Attributes,
    AttributesAnswer,
    Boxes,
    BoxesAnswer,
    Landmarks,
    LandmarksAnswer,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
)
from facereview.quality.drawn import distance_px, overlap
from facestore.decisions import Verb
from facestore.errors import DataError
from facestore.ids import canonical_json, face_id

MISSED_FACE = "missed_face"  # attribute: a face that the detector did not see; its value is JSON
BOX = "box"  # attribute: where a face really is, "x1,y1,x2,y2" in px of the frame
LANDMARKS = "landmarks"  # attribute: five points, "x,y,…" in px of the frame
_ALIKE_OVERLAP = 0.7  # intersection over union of two boxes that say the same
_ALIKE_SHARE = 0.1  # of the points' width, by which two placings that say the same may differ in the mean
_BY_PEOPLE = "people"  # stands for the detector in the id of a face that people found


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement of an answer."""

    verb: Verb
    face_id: str
    other_face_id: str | None = None  # same, different; the larger id
    name: str | None = None  # attribute
    value: str | None = None
    chance: float | None = None  # that it is right, as the machine saw it before anybody answered; None: no idea
    chosen_for: str | None = None  # the face for which the other one was chosen among several

    @property
    def topic(self) -> tuple[str, ...]:
        """Pairs by their faces, attributes by face and name, the rest by its face."""
        match self.verb:
            case "same" | "different":
                return ("pair", self.face_id, str(self.other_face_id))
            case "attribute":
                return ("attribute", self.face_id, str(self.name))
            case _:
                return ("face", self.face_id)

    @property
    def statement(self) -> tuple[str, str | None]:
        """What is said of the topic."""
        return self.verb, self.value

    def contradicts(self, other: "Claim") -> bool:
        """Can they not both be meant? Different words on one topic; two choices for one face, although both may be true
        of two candidates who are one person: that is no reason to merge them; somebody's face that is none.
        """
        if self.topic == other.topic:
            return self.statement != other.statement and not _is_drawn_alike(self, other)
        if self.verb == other.verb == "same":
            return self.chosen_for is not None and self.chosen_for == other.chosen_for
        verbs = {self.verb, other.verb}
        return verbs == {"same", "not_a_face"} and bool(self._faces & other._faces)

    @property
    def _faces(self) -> set[str | None]:
        return {self.face_id, self.other_face_id} - {None}


def _is_drawn_alike(first: Claim, second: Claim) -> bool:
    """Nobody draws the same box or points twice to the pixel."""
    if first.name not in (BOX, LANDMARKS) or first.name != second.name:
        return False
    one, two = ([float(number) for number in str(claim.value).split(",")] for claim in (first, second))
    if first.name == BOX:
        return overlap((one[0], one[1], one[2], one[3]), (two[0], two[1], two[2], two[3])) >= _ALIKE_OVERLAP
    return distance_px(one, two) <= _ALIKE_SHARE * (max(one[::2]) - min(one[::2]))


def claims_of(subject: Subject, answer: Answer) -> tuple[Claim, ...]:
    """The claims of an answer; none where the annotator could not tell. Raises DataError for an answer of another kind
    or about faces that the question does not show.
    """
    match subject, answer:
        case SamePerson(), SamePersonAnswer():
            return _same_person(subject, answer)
        case OddOnesOut(), OddOnesOutAnswer():
            return _odd_ones_out(subject, answer)
        case WhoIsThis(), WhoIsThisAnswer():
            return _who_is_this(subject, answer)
        case Attributes(), AttributesAnswer():
            return _attributes(subject, answer)
        case Boxes(), BoxesAnswer():
            return _boxes(subject, answer)
        case Landmarks(), LandmarksAnswer():
            return _landmarks(subject, answer)
    raise DataError(f"a {type(answer).__name__} does not answer a question of kind {type(subject).__name__}")


def _pair(first: str, second: str, chance: float, *, is_same: bool) -> Claim:
    """`chance` is that the two are one person."""
    low, high = sorted((first, second))
    return Claim(
        verb="same" if is_same else "different",
        face_id=low,
        other_face_id=high,
        chance=chance if is_same else 1 - chance,
    )


def _same_person(subject: SamePerson, answer: SamePersonAnswer) -> tuple[Claim, ...]:
    match answer.verdict:
        case "same" | "different":
            pair = subject.left.face_ids[0], subject.right.face_ids[0]
            return (_pair(*pair, subject.chance, is_same=answer.verdict == "same"),)
        case "left_unusable":
            return tuple(Claim(verb="ignore", face_id=face) for face in subject.left.face_ids)
        case "right_unusable":
            return tuple(Claim(verb="ignore", face_id=face) for face in subject.right.face_ids)
        case "unsure":
            return ()


def _odd_ones_out(subject: OddOnesOut, answer: OddOnesOutAnswer) -> tuple[Claim, ...]:
    """Who was not marked is said to be the person of the reference: people looked at all of them."""
    members = {member.face_id for member in subject.members}
    if foreign := {*answer.strangers, *answer.not_faces} - members:
        raise DataError(f"face {min(foreign)} is marked, but the question does not show it")
    if answer.verdict == "unsure":
        return ()
    claims = []
    for member in subject.members:
        if member.face_id in answer.not_faces:
            claims.append(Claim(verb="not_a_face", face_id=member.face_id))
        else:
            is_same = member.face_id not in answer.strangers
            claims.append(_pair(subject.reference.face_ids[0], member.face_id, member.chance, is_same=is_same))
    return tuple(claims)


def _who_is_this(subject: WhoIsThis, answer: WhoIsThisAnswer) -> tuple[Claim, ...]:
    """Choosing one says nothing of the others: two candidates may be one person, not yet merged."""
    probe = subject.probe.face_ids[0]
    match answer.verdict:
        case "candidate":
            if answer.candidate is None or not 0 <= answer.candidate < len(subject.candidates):
                raise DataError(f"candidate {answer.candidate} of {len(subject.candidates)} was chosen")
            chosen = subject.candidates[answer.candidate]
            claim = _pair(probe, chosen.strip.face_ids[0], chosen.chance, is_same=True)
            return (replace(claim, chosen_for=probe),)
        case "someone_new":
            return tuple(
                _pair(probe, other.strip.face_ids[0], other.chance, is_same=False) for other in subject.candidates
            )
        case "unusable":
            return tuple(Claim(verb="ignore", face_id=face) for face in subject.probe.face_ids)
        case "unsure":
            return ()


def _attributes(subject: Attributes, answer: AttributesAnswer) -> tuple[Claim, ...]:
    face = subject.strip.face_ids[0]
    if answer.verdict == "unusable":
        return (Claim(verb="ignore", face_id=face),)
    predicted = {prediction.name: prediction for prediction in subject.predictions}
    claims = []
    for said in answer.values:
        guess = predicted.get(said.name)
        chance = guess.score if guess is not None and guess.value == said.value else None
        claims.append(Claim(verb="attribute", face_id=face, name=said.name, value=said.value, chance=chance))
    return tuple(claims)


def _boxes(subject: Boxes, answer: BoxesAnswer) -> tuple[Claim, ...]:
    """A missed face gets the id that a detector would give it, and its place as the value of an attribute."""
    known = {box.face_id for box in subject.boxes}
    if foreign := {*answer.wrong, *(box.face_id for box in answer.moved)} - known:
        raise DataError(f"face {min(foreign)} has no box in the question")
    wrong = [Claim(verb="not_a_face", face_id=face) for face in answer.wrong]
    moved = [Claim(verb="attribute", face_id=box.face_id, name=BOX, value=spelled(box.bbox)) for box in answer.moved]
    missed = [
        Claim(
            verb="attribute",
            face_id=face_id(subject.footage_id, subject.pts_ms, _BY_PEOPLE, bbox),
            name=MISSED_FACE,
            value=canonical_json(
                {
                    "footage_id": subject.footage_id,
                    "pts_ms": subject.pts_ms,
                    "bbox": [round(edge, 1) for edge in bbox],
                }
            ),
        )
        for bbox in answer.missed
    ]
    return (*wrong, *moved, *missed)


def _landmarks(subject: Landmarks, answer: LandmarksAnswer) -> tuple[Claim, ...]:
    if answer.verdict == "unusable":
        return (Claim(verb="ignore", face_id=subject.face_id),)
    if len(answer.points) != 10:
        raise DataError(f"{len(answer.points) / 2:g} landmarks of face {subject.face_id}; there are five")
    return (Claim(verb="attribute", face_id=subject.face_id, name=LANDMARKS, value=spelled(answer.points)),)


def spelled(numbers: tuple[float, ...]) -> str:
    """Numbers in px, one decimal, separated by commas."""
    return ",".join(f"{number:.1f}" for number in numbers)

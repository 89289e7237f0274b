"""What annotators say of a question, kind by kind, in words that can be compared.

Finer than claims where two claims may both be true (one candidate chosen, and another), and coarser where people draw:
boxes and points need only be alike.
"""

from collections.abc import Mapping
from typing import cast

from facereview.answers.claims import claims_of
from facereview.kinds import (
    Answer,
    Attributes,
    AttributesAnswer,
    Boxes,
    BoxesAnswer,
    LandmarksAnswer,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
)
from facereview.quality.drawn import boxes_alike, grouped, points_alike

WHOLE = "answer"  # the one topic of a question that asks one thing
ORDINARY = frozenset(("same", "kept", "nothing"))  # words for nearly everything that a grid or a frame shows
Words = dict[str, dict[str, str]]  # by topic and annotator


def words_of(subject: Subject, answers: Mapping[str, Answer]) -> Words:
    """By topic, then annotator; who could not tell has none. The topics are those of all answers together.

    Raises DataError for an answer of another kind, or about faces that the question does not show.
    """
    for answer in answers.values():
        claims_of(subject, answer)
    match subject:
        case SamePerson() | WhoIsThis():
            return {WHOLE: _verdicts(cast("Mapping[str, SamePersonAnswer | WhoIsThisAnswer]", answers))}
        case OddOnesOut():
            return _grid(subject, cast("Mapping[str, OddOnesOutAnswer]", answers))
        case Attributes():
            return _attributes(cast("Mapping[str, AttributesAnswer]", answers))
        case Boxes():
            return _boxes(subject, cast("Mapping[str, BoxesAnswer]", answers))
        case _:
            return {WHOLE: _landmarks(cast("Mapping[str, LandmarksAnswer]", answers))}


def chances_of(subject: Subject) -> dict[str, dict[str, float]]:
    """By topic and word: what the machine believed before anybody answered. Of other words it has no idea."""
    match subject:
        case SamePerson(chance=chance):
            return {WHOLE: {"same": chance, "different": 1 - chance}}
        case WhoIsThis(candidates=candidates):
            known = {f"candidate {place}": candidate.chance for place, candidate in enumerate(candidates)}
            return {WHOLE: {**known, "someone_new": max(0.0, 1 - sum(known.values()))}}
        case OddOnesOut(members=members):
            return {member.face_id: {"same": member.chance, "different": 1 - member.chance} for member in members}
        case Attributes(predictions=predictions):
            return {prediction.name: {prediction.value: prediction.score} for prediction in predictions}
        case _:
            return {}


def _verdicts(answers: Mapping[str, SamePersonAnswer | WhoIsThisAnswer]) -> dict[str, str]:
    return {
        who: f"candidate {answer.candidate}"
        if isinstance(answer, WhoIsThisAnswer) and answer.verdict == "candidate"
        else answer.verdict
        for who, answer in answers.items()
        if answer.verdict != "unsure"
    }


def _grid(subject: OddOnesOut, answers: Mapping[str, OddOnesOutAnswer]) -> Words:
    words: Words = {member.face_id: {} for member in subject.members}
    for who, answer in answers.items():
        if answer.verdict == "sorted":
            for face, said in words.items():
                is_stranger = face in answer.strangers
                said[who] = "not_a_face" if face in answer.not_faces else "different" if is_stranger else "same"
    return words


def _attributes(answers: Mapping[str, AttributesAnswer]) -> Words:
    """Who calls the picture unusable contradicts everybody who sees something in it."""
    words: Words = {said.name: {} for answer in answers.values() for said in answer.values} or {WHOLE: {}}
    for who, answer in answers.items():
        if answer.verdict == "unusable":
            for said in words.values():
                said[who] = "unusable"
        else:
            for value in answer.values:
                words[value.name][who] = value.value
    return words


def _boxes(subject: Boxes, answers: Mapping[str, BoxesAnswer]) -> Words:
    words: Words = {}
    for box in subject.boxes:
        moved = {
            who: found.bbox for who, said in answers.items() for found in said.moved if found.face_id == box.face_id
        }
        groups = grouped(moved.values(), boxes_alike)
        words[box.face_id] = {
            who: "wrong" if box.face_id in said.wrong else f"moved {groups[moved[who]]}" if who in moved else "kept"
            for who, said in answers.items()
        }
    groups = grouped((edges for said in answers.values() for edges in said.missed), boxes_alike)
    for group in sorted(set(groups.values())):
        words[f"missed {group}"] = {
            who: "missed" if group in {groups[edges] for edges in said.missed} else "nothing"
            for who, said in answers.items()
        }
    return words or {WHOLE: dict.fromkeys(answers, "nothing")}


def _landmarks(answers: Mapping[str, LandmarksAnswer]) -> dict[str, str]:
    groups = grouped((said.points for said in answers.values() if said.verdict == "placed"), points_alike)
    return {
        who: f"placed {groups[said.points]}" if said.verdict == "placed" else said.verdict
        for who, said in answers.items()
    }

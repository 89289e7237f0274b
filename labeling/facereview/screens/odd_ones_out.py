"""Who does not belong? A grid of members beside the reference; keys lie as the pictures do, four rows of five."""

from collections.abc import Mapping, Sequence

from facereview.kinds import Member, OddOnesOut, OddOnesOutAnswer
from facereview.pictures import Picture
from facereview.schema import AttributeSchema
from facereview.screens.choices import chosen, read_choices
from facereview.screens.markup import picture_html, read_config, strip_html, why_html
from facereview.server import PredictionDraft
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

REFERENCE_SHOTS = 3
KEYS = "12345qwertasdfgzxcvb"  # of the cells, row by row; with shift: not a face


def label_config(_schema: AttributeSchema) -> str:
    return read_config("odd_ones_out.xml")


def task_data(
    question: Question, subject: OddOnesOut, url_of: Mapping[Picture, str], _schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`reference`: an image a shot; `strangers`, `not_faces`: a choice a member, the first with its picture.

    Raises DataError for more members than the grid has cells, or none.
    """
    if not 1 <= len(subject.members) <= len(KEYS):
        raise DataError(f"{len(subject.members)} members; the screen shows 1 to {len(KEYS)}, ask about fewer")
    doubtful = sum(member.is_doubtful for member in subject.members)
    words = f"{doubtful} of {len(subject.members)} do not belong" if doubtful else "all are this person"
    strangers: list[JsonValue] = [
        {"value": str(place), "html": picture_html(url_of, member.face_id), "hotkey": key}
        for place, key, member in _cells(subject)
    ]
    not_faces: list[JsonValue] = [
        {"value": str(place), "html": "no face", "hotkey": f"shift+{key}"} for place, key, _ in _cells(subject)
    ]
    return {
        "why": why_html(question, words),
        "reference": strip_html(url_of, subject.reference, REFERENCE_SHOTS),
        "strangers": strangers,
        "not_faces": not_faces,
    }


def prediction(question: Question, subject: OddOnesOut, _schema: AttributeSchema) -> PredictionDraft:
    """The doubtful ones are marked; without any the result is empty, which says that all are the person."""
    marked = [str(place) for place, _, member in _cells(subject) if member.is_doubtful]
    return PredictionDraft(
        model_version=question.model_version,
        score=question.chance,
        result=(chosen("strangers", "why", marked),) if marked else (),
    )


def read_answer(
    _question: Question, subject: OddOnesOut, result: Sequence[JsonValue], _schema: AttributeSchema
) -> OddOnesOutAnswer:
    """Without a mark all are the person. What is no face is no stranger; "cannot tell" overrules marks, since those
    were there before the annotator came. Raises DataError for a member that is not there.
    """
    faces = {str(place): member.face_id for place, _, member in _cells(subject)}
    said = read_choices(result, {"strangers": faces.keys(), "not_faces": faces.keys(), "verdict": {"unsure"}})
    if said.get("verdict"):
        return OddOnesOutAnswer(verdict="unsure")
    not_faces = set(said.get("not_faces", ()))
    strangers = set(said.get("strangers", ())) - not_faces
    return OddOnesOutAnswer(
        verdict="sorted",
        strangers=tuple(face for place, face in faces.items() if place in strangers),
        not_faces=tuple(face for place, face in faces.items() if place in not_faces),
    )


def _cells(subject: OddOnesOut) -> list[tuple[int, str, Member]]:
    """Place from 1, key, and who is there."""
    return [
        (place, key, member) for place, (key, member) in enumerate(zip(KEYS, subject.members, strict=False), start=1)
    ]

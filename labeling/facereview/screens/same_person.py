"""Do two strips show one person? The first shot of each side is large; the answer is about it."""

from collections.abc import Mapping, Sequence
from typing import get_args

from facereview.kinds import SamePerson, SamePersonAnswer
from facereview.pictures import Picture
from facereview.schema import AttributeSchema
from facereview.screens.choices import chosen, read_verdict
from facereview.screens.markup import read_config, strip_html, why_html
from facereview.server import PredictionDraft
from facestore.ids import JsonValue
from facestore.questions import Question

SHOTS = 5  # of a side that are shown
_ANSWERS = {
    verdict: SamePersonAnswer(verdict=verdict) for verdict in get_args(SamePersonAnswer.__annotations__["verdict"])
}


def label_config(_schema: AttributeSchema) -> str:
    return read_config("same_person.xml")


def task_data(
    question: Question, subject: SamePerson, url_of: Mapping[Picture, str], _schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`left`, `right`: an image a shot; `why`: HTML."""
    words = {"same": "same person", "different": "different people"}[_suggested(subject)]
    facts = [] if "similarity" in question.reason_detail else [f"similarity {subject.similarity:.2f}"]
    return {
        "why": why_html(question, words, facts),
        "left": strip_html(url_of, subject.left, SHOTS),
        "right": strip_html(url_of, subject.right, SHOTS),
    }


def prediction(question: Question, subject: SamePerson, _schema: AttributeSchema) -> PredictionDraft:
    return PredictionDraft(
        model_version=question.model_version,
        score=question.chance,
        result=(chosen("verdict", "why", [_suggested(subject)]),),
    )


def read_answer(
    _question: Question, _subject: SamePerson, result: Sequence[JsonValue], _schema: AttributeSchema
) -> SamePersonAnswer:
    """Raises DataError unless exactly one verdict is ticked."""
    return _ANSWERS[read_verdict(result, "verdict", _ANSWERS.keys())]


def _suggested(subject: SamePerson) -> str:
    return "same" if subject.chance >= 0.5 else "different"

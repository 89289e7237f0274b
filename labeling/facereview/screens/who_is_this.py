"""Which candidate is the probe? Every answer is one choice of one group, so that one key answers."""

from collections.abc import Mapping, Sequence

from facereview.kinds import Candidate, WhoIsThis, WhoIsThisAnswer
from facereview.pictures import Picture
from facereview.schema import AttributeSchema
from facereview.screens.choices import chosen, read_verdict
from facereview.screens.markup import picture_html, read_config, strip_html, why_html
from facereview.server import PredictionDraft
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

PROBE_SHOTS = 3
FURTHER_SHOTS = 2  # of a candidate, under the first
CANDIDATES = 5  # columns of the screen
_OTHERS = (
    ("someone_new", "someone new", "6"),
    ("unsure", "cannot tell", "7"),
    ("unusable", "unusable", "8"),
)
_ANSWERS = {
    "someone_new": WhoIsThisAnswer(verdict="someone_new"),
    "unsure": WhoIsThisAnswer(verdict="unsure"),
    "unusable": WhoIsThisAnswer(verdict="unusable"),
}


def label_config(_schema: AttributeSchema) -> str:
    return read_config("who_is_this.xml")


def task_data(
    question: Question, subject: WhoIsThis, url_of: Mapping[Picture, str], _schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`probe`: an image a shot; `further`: for each candidate its other shots; `options`: what can be chosen, HTML.

    Raises DataError for more candidates than the screen has columns, or none.
    """
    if not 1 <= len(subject.candidates) <= CANDIDATES:
        raise DataError(f"{len(subject.candidates)} candidates; the screen shows 1 to {CANDIDATES}, ask about fewer")
    options: list[JsonValue] = [
        _option(place, candidate, url_of) for place, candidate in enumerate(subject.candidates, start=1)
    ]
    options += [
        {"value": alias, "html": f'<span class="fl-plain">{words}</span>', "hotkey": key}
        for alias, words, key in _OTHERS
    ]
    further: list[JsonValue] = [
        strip_html(url_of, candidate.strip, FURTHER_SHOTS + 1)[1:] for candidate in subject.candidates
    ]
    return {
        "why": why_html(question, _words(_suggested(subject))),
        "probe": strip_html(url_of, subject.probe, PROBE_SHOTS),
        "further": further,
        "options": options,
    }


def prediction(question: Question, subject: WhoIsThis, _schema: AttributeSchema) -> PredictionDraft:
    return PredictionDraft(
        model_version=question.model_version,
        score=question.chance,
        result=(chosen("verdict", "why", [_suggested(subject)]),),
    )


def read_answer(
    _question: Question, subject: WhoIsThis, result: Sequence[JsonValue], _schema: AttributeSchema
) -> WhoIsThisAnswer:
    """Raises DataError unless exactly one choice is ticked, and for a candidate that is not there."""
    places = {str(place): place - 1 for place in range(1, len(subject.candidates) + 1)}
    verdict = read_verdict(result, "verdict", places.keys() | _ANSWERS.keys())
    if verdict in places:
        return WhoIsThisAnswer(verdict="candidate", candidate=places[verdict])
    return _ANSWERS[verdict]


def _option(place: int, candidate: Candidate, url_of: Mapping[Picture, str]) -> dict[str, JsonValue]:
    picture = picture_html(url_of, candidate.strip.face_ids[0])
    return {
        "value": str(place),
        "html": f"{picture}<span>{candidate.similarity:.2f}</span>",
        "hotkey": str(place),
    }


def _suggested(subject: WhoIsThis) -> str:
    """The likeliest candidate, or somebody new where that is likelier than every one of them."""
    chances = [candidate.chance for candidate in subject.candidates]
    best = max(range(len(chances)), key=lambda place: (chances[place], -place))
    return str(best + 1) if chances[best] >= 1 - sum(chances) else "someone_new"


def _words(suggested: str) -> str:
    return f"number {suggested}" if suggested.isdigit() else suggested.replace("_", " ")

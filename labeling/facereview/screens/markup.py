"""Pieces of task data: HTML with everything escaped, and addresses of pictures, one a string.

Label Studio signs only the first bucket address of a string, so a string never holds two.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from facereview.kinds import Strip
from facereview.pictures import FacePicture, Picture
from facereview.reasons import reason_words
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

_MODEL_CHARS = 24  # of a model version that are shown


def read_config(name: str, *, style: str = "people.css") -> str:
    """A labelling config of this package, with its style sheet put in."""
    folder = files("facereview.screens")
    css = folder.joinpath(style).read_text(encoding="utf-8")
    return folder.joinpath(name).read_text(encoding="utf-8").replace("{{style}}", css)


def picture_html(url_of: Mapping[Picture, str], face_id: str) -> str:
    """An image tag; its size is the style sheet's business. Raises DataError for a face without an address."""
    address = url_of.get(FacePicture(face_id=face_id))
    if address is None:
        raise DataError(f"face {face_id} has no picture for annotators; put it on the shelf before the question")
    return f'<img src="{escape(address)}" alt="" draggable="false">'


def strip_html(url_of: Mapping[Picture, str], strip: Strip, most: int) -> list[JsonValue]:
    """Image tags of the first `most` shots, the one that is asked about first."""
    return [picture_html(url_of, face_id) for face_id in strip.face_ids[:most]]


def why_html(question: Question, suggestion: str, facts: Sequence[str] = ()) -> str:
    """One line: why it is asked, what the machine suggests and how sure it is, and, smaller, which model that was."""
    model = question.model_version[:_MODEL_CHARS]
    said = [f"machine: <b>{escape(suggestion)}</b> {question.chance:.0%}", *(escape(fact) for fact in facts)]
    return (
        f"<span>{escape(reason_words(question.reason, question.reason_detail))}</span>"
        f"<span>{' · '.join(said)}</span><small>{escape(model)}</small>"
    )

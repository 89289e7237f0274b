"""One door to the screens of all kinds: the config, a task's data, what is filled in, and what came back."""

from collections.abc import Mapping, Sequence

from facereview.kinds import (
    Answer,
    Attributes,
    Boxes,
    Landmarks,
    OddOnesOut,
    SamePerson,
    WhoIsThis,
    subject_of,
)
from facereview.pictures import Picture
from facereview.schema import AttributeSchema
from facereview.screens import attributes, boxes, landmarks, odd_ones_out, same_person, who_is_this
from facereview.server import PredictionDraft
from facestore.ids import JsonValue
from facestore.questions import Question, QuestionKind


def label_config(kind: QuestionKind, schema: AttributeSchema) -> str:
    """Label Studio's XML. The same for every question of the kind, so that projects can be told apart by its hash."""
    match kind:
        case "same_person":
            return same_person.label_config(schema)
        case "odd_ones_out":
            return odd_ones_out.label_config(schema)
        case "who_is_this":
            return who_is_this.label_config(schema)
        case "attributes":
            return attributes.label_config(schema)
        case "boxes":
            return boxes.label_config(schema)
        case "landmarks":
            return landmarks.label_config(schema)


def task_data(question: Question, url_of: Mapping[Picture, str], schema: AttributeSchema) -> dict[str, JsonValue]:
    """What the config shows of the question. `url_of`: where the tool finds each of `pictures_of(subject)`.

    Raises DataError for a subject that is none of its kind, or a picture without an address.
    """
    subject = subject_of(question)
    match subject:
        case SamePerson():
            shown = same_person.task_data(question, subject, url_of, schema)
        case OddOnesOut():
            shown = odd_ones_out.task_data(question, subject, url_of, schema)
        case WhoIsThis():
            shown = who_is_this.task_data(question, subject, url_of, schema)
        case Attributes():
            shown = attributes.task_data(question, subject, url_of, schema)
        case Boxes():
            shown = boxes.task_data(question, subject, url_of, schema)
        case Landmarks():
            shown = landmarks.task_data(question, subject, url_of, schema)
    return {**shown, "question_id": question.question_id}


def prediction(question: Question, schema: AttributeSchema) -> PredictionDraft:
    """What is filled in beforehand. Of a honeypot what the machine thinks, never the right answer."""
    subject = subject_of(question)
    match subject:
        case SamePerson():
            return same_person.prediction(question, subject, schema)
        case OddOnesOut():
            return odd_ones_out.prediction(question, subject, schema)
        case WhoIsThis():
            return who_is_this.prediction(question, subject, schema)
        case Attributes():
            return attributes.prediction(question, subject, schema)
        case Boxes():
            return boxes.prediction(question, subject, schema)
        case Landmarks():
            return landmarks.prediction(question, subject, schema)


def read_answer(question: Question, result: Sequence[JsonValue], schema: AttributeSchema) -> Answer:
    """The answer that an annotation's result holds. Raises DataError, saying what is wrong, for a result that its
    config cannot have made or that leaves the answer open.
    """
    subject = subject_of(question)
    match subject:
        case SamePerson():
            return same_person.read_answer(question, subject, result, schema)
        case OddOnesOut():
            return odd_ones_out.read_answer(question, subject, result, schema)
        case WhoIsThis():
            return who_is_this.read_answer(question, subject, result, schema)
        case Attributes():
            return attributes.read_answer(question, subject, result, schema)
        case Boxes():
            return boxes.read_answer(question, subject, result, schema)
        case Landmarks():
            return landmarks.read_answer(question, subject, result, schema)

"""A question made ready for the labelling tool: pictures, data and what is filled in; or why it cannot be asked."""

from collections.abc import Mapping
from dataclasses import dataclass

from facereview.kinds import subject_of
from facereview.pictures import Picture, Pictures, Shelf, pictures_of
from facereview.schema import AttributeSchema
from facereview.screens import prediction, task_data
from facereview.server import PredictionDraft, TaskDraft
from facestore.errors import DataError, MediaError
from facestore.questions import Question

PICTURE_GONE = "picture_gone"  # the face was erased, or its footage is not there
UNREADABLE = "unreadable"  # no subject of its kind, or one that its screen cannot show


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Ready to be laid out."""

    question: Question
    jpegs: Mapping[Picture, bytes]  # in the order of their places
    filled_in: PredictionDraft

    def on(self, shelf: Shelf, schema: AttributeSchema) -> TaskDraft:
        """Lay the pictures out; the task that shows them. Raises StoreError."""
        question_id = self.question.question_id
        addresses = {
            picture: shelf.put(question_id, place, jpeg) for place, (picture, jpeg) in enumerate(self.jpegs.items())
        }
        data = task_data(self.question, addresses, schema)
        return TaskDraft(question_id=question_id, data=data, prediction=self.filled_in)


def show(question: Question, pictures: Pictures, schema: AttributeSchema) -> Shown | str:
    """The question ready to be asked, or the reason code why not: PICTURE_GONE, UNREADABLE or that of its footage."""
    try:
        wanted = pictures_of(subject_of(question))
        task_data(question, dict.fromkeys(wanted, ""), schema)
        filled_in = prediction(question, schema)
    except DataError:
        return UNREADABLE
    try:
        jpegs = {picture: pictures.jpeg(picture) for picture in wanted}
    except MediaError as error:
        return error.reason
    except DataError:
        return PICTURE_GONE
    return Shown(question=question, jpegs=jpegs, filled_in=filled_in)

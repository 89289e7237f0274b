"""What people are asked next: the first questions of the plan, with their pictures."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faceloop.reports.page import Photo, QuestionView, Strip
from faceloop.reports.words import short_id
from facereview import kinds
from facereview.asking.projects import TITLES
from facereview.reasons import reason_words
from facestore.questions import Question
from facestore.tables import read_table

_SHOTS = 3  # of a strip
Photograph = Callable[[str], Photo | None]  # face id → its picture; None for a face that is gone


def read_plan(questions: Path) -> list[Question]:
    """The plan, most worth first; empty before `select` has run."""
    return list(read_table(questions, "questions", Question))


def question_views(plan: Sequence[Question], photograph: Photograph, limit: int) -> tuple[QuestionView, ...]:
    """The first `limit` questions about who is who. Frames are not on the page."""
    views: list[QuestionView] = []
    for question in plan:
        strips = tuple(_strips(kinds.subject_of(question), photograph))
        if len(views) < limit and strips and all(strip.photos for strip in strips):
            views.append(
                QuestionView(
                    title=TITLES[question.kind],
                    reason=reason_words(question.reason),
                    detail=question.reason_detail,
                    strips=strips,
                    gain=question.gain,
                    seconds=question.seconds,
                )
            )
    return tuple(views)


def _strips(subject: kinds.Subject, photograph: Photograph) -> Iterator[Strip]:
    match subject:
        case kinds.SamePerson():
            yield _strip(_name(subject.left), subject.left.face_ids, photograph)
            yield _strip(_name(subject.right), subject.right.face_ids, photograph)
        case kinds.OddOnesOut():
            yield _strip(_name(subject.reference), subject.reference.face_ids, photograph)
            yield _strip("doubtful", [m.face_id for m in subject.members if m.is_doubtful], photograph)
        case kinds.WhoIsThis():
            yield _strip("who is this?", subject.probe.face_ids, photograph)
            for candidate in subject.candidates[:3]:
                yield _strip(_name(candidate.strip), candidate.strip.face_ids, photograph)
        case _:
            return


def _name(strip: kinds.Strip) -> str:
    return short_id(strip.identity_id) if strip.identity_id else "unknown"


def _strip(name: str, face_ids: Sequence[str], photograph: Photograph) -> Strip:
    photos = [photo for face_id in face_ids[:_SHOTS] if (photo := photograph(face_id)) is not None]
    return Strip(name=name, photos=tuple(photos), not_shown=len(face_ids) - len(photos))

"""Which pictures a question shows, where they come from, and where the labelling tool finds them."""

from dataclasses import dataclass
from typing import Protocol

from facereview.kinds import Boxes, Landmarks, Subject, shown_faces


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePicture:
    """A face with a little of its surroundings."""

    face_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePicture:
    """A frame as displayed, or the part of it that `view` (x1, y1, x2, y2 px) names."""

    footage_id: str
    pts_ms: int
    view: tuple[int, int, int, int] | None = None


Picture = FacePicture | FramePicture


class Pictures(Protocol):
    """Where pictures come from."""

    def jpeg(self, picture: Picture) -> bytes:
        """Raises DataError for a picture that is not there any more: a face that was erased, footage that is gone."""


class Shelf(Protocol):
    """Where the labelling tool finds pictures while a question is open: a folder that it serves to those who have
    logged in, or a bucket for which it signs short-lived links."""

    def put(self, question_id: str, place: int, jpeg: bytes) -> str:
        """Lay the picture out under an opaque name; returns its address for a task's data. Again it changes nothing."""

    def remove(self, question_id: str) -> None:
        """Take all pictures of a question away; without any it does nothing."""

    def held(self) -> set[str]:
        """Questions that have pictures on the shelf."""


def pictures_of(subject: Subject) -> tuple[Picture, ...]:
    """Every picture that the question shows, each once, in the order of its kind."""
    match subject:
        case Boxes():
            return (FramePicture(footage_id=subject.footage_id, pts_ms=subject.pts_ms),)
        case Landmarks():
            return (FramePicture(footage_id=subject.footage_id, pts_ms=subject.pts_ms, view=subject.view),)
        case _:
            return tuple(FacePicture(face_id=face) for face in dict.fromkeys(shown_faces(subject)))

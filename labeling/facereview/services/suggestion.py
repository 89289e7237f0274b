"""What the machine suggests for a question now, which may differ from what it thought when the question was pushed."""

from dataclasses import dataclass
from typing import Protocol

from facestore.questions import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class NearIdentity:
    """An identity that a shown face resembles."""

    face_id: str  # the shown face
    identity_id: str
    best_face_id: str  # that shows the identity
    similarity: float  # mean cosine, less hubness
    chance: float  # that the face is this person, [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The same question with its similarities, chances, marks and model version as of now: places, faces and pictures
    are those that were asked, so that an answer means the same."""

    question: Question
    nearest: tuple[NearIdentity, ...]  # by shown face as the question orders them, then the most likely first


class Suggester(Protocol):
    """Who knows how things stand."""

    def version(self) -> str:
        """Names the state of things: the same state, the same version. Cheap."""

    def suggest(self, question: Question) -> Suggestion:
        """Raises DataError or StoreError where the artifacts or the logs cannot be read."""

"""What we ask people. A question is a value: the same pair asked twice has the same key."""

from dataclasses import dataclass
from typing import Literal

from facestore.errors import DataError
from facestore.ids import JsonValue, sha256_hex

KEY_HEX = 32

Reason = Literal[
    "bridge_between_identities",  # two identities that resemble each other
    "unknown_near_identity",  # a face without identity that resembles one
    "unknown_pair",  # two faces without identity that resemble each other
    "weak_member",  # a tracklet that hardly resembles the rest of its cluster
    "two_halves",  # two parts of one cluster that hardly resemble each other
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two tracklets that a person compares."""

    tracklet_id: str
    face_id: str  # its best shot
    identity_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamePersonQuestion:
    """Do these two tracklets show one person? Build it with `same_person_question`, which orders the sides."""

    key: str  # KEY_HEX hex digits, of the unordered pair of tracklets
    left: Side
    right: Side
    similarity: float  # cosine that raised the question, in [-1, 1]
    margin: float  # how clearly the machine decided; below 0 it went against its own threshold
    reason: Reason

    def to_json(self) -> dict[str, JsonValue]:
        sides: dict[str, JsonValue] = {
            name: {"tracklet_id": side.tracklet_id, "face_id": side.face_id, "identity_id": side.identity_id}
            for name, side in (("left", self.left), ("right", self.right))
        }
        return {
            "key": self.key,
            **sides,
            "similarity": round(self.similarity, 4),
            "margin": round(self.margin, 4),
            "reason": self.reason,
        }


def question_key(first_tracklet_id: str, second_tracklet_id: str) -> str:
    """Key of the unordered pair. Raises DataError when both are the same tracklet: that is no question."""
    if first_tracklet_id == second_tracklet_id:
        raise DataError(f"tracklet {first_tracklet_id} was paired with itself; ask about two different ones")
    pair = sorted((first_tracklet_id, second_tracklet_id))
    return sha256_hex("\x1f".join(("same_person", *pair)).encode())[:KEY_HEX]


def same_person_question(
    first: Side, second: Side, *, similarity: float, margin: float, reason: Reason
) -> SamePersonQuestion:
    """The question about two sides in either order; the smaller tracklet id stands left."""
    left, right = sorted((first, second), key=lambda side: side.tracklet_id)
    return SamePersonQuestion(
        key=question_key(left.tracklet_id, right.tracklet_id),
        left=left,
        right=right,
        similarity=similarity,
        margin=margin,
        reason=reason,
    )

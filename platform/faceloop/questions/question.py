"""Picks of the selection as the questions that people see."""

from collections.abc import Mapping, Sequence

from faceloop.questions.selection import Pick
from facereview.questions import Reason, SamePersonQuestion, Side, same_person_question
from facestore.errors import DataError


def as_questions(
    picks: Sequence[Pick],
    node_ids: Sequence[str],
    best_face: Mapping[str, str],
    identity: Mapping[str, str],
) -> list[SamePersonQuestion]:
    """One question a pick, in order. Nodes are tracklets: `best_face` names the shot of each that is shown, `identity`
    the identity of those that have one. Raises DataError for a node without a best face.
    """
    found = []
    for pick in picks:
        rows = pick.topic.shots(len(pick.topic.answers))
        first, second = (_side(node_ids[row], best_face, identity) for row in rows)
        reason = _reason(pick, (first, second))
        question = same_person_question(
            first, second, similarity=pick.similarity, margin=pick.topic.margin, reason=reason
        )
        found.append(question)
    return found


def _side(node_id: str, best_face: Mapping[str, str], identity: Mapping[str, str]) -> Side:
    if node_id not in best_face:
        raise DataError(f"tracklet {node_id} has no best face to show; give one for every node")
    return Side(tracklet_id=node_id, face_id=best_face[node_id], identity_id=identity.get(node_id))


def _reason(pick: Pick, sides: Sequence[Side]) -> Reason:
    match pick.topic.kind:
        case "split":
            return "two_halves"
        case "outlier":
            return "weak_member"
    named = sum(side.identity_id is not None for side in sides)
    by_count: tuple[Reason, ...] = ("unknown_pair", "unknown_near_identity", "bridge_between_identities")
    return by_count[named]

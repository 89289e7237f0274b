"""Why an edit of identities is refused: standing decisions that speak against it, named."""

from collections.abc import Mapping, Sequence

from faceloop.identity.resolve import resolve
from facestore.decisions import Decision, Verb
from facestore.errors import DataError


def refuse_across(effective: Sequence[Decision], verb: Verb, side: Mapping[str, int], doing: str) -> None:
    """Raises DataError for a decision with one face on each side (face → 0 or 1; others are on none)."""
    for decision in effective:
        sides = {side.get(decision.face_id or ""), side.get(decision.other_face_id or "")}
        if decision.verb == verb and sides == {0, 1}:
            raise DataError(contradicts(decision, doing))


def refuse_named(effective: Sequence[Decision], name: str, leaving: Mapping[str, int], doing: str) -> None:
    """Raises DataError when somebody said of a face on side 1 that it is `name` (ids as aliases have them)."""
    for decision in effective:
        if decision.verb == "is" and decision.identity_id == name and leaving.get(decision.face_id or "") == 1:
            raise DataError(contradicts(decision, doing))


def refuse_contradicted(
    effective: Sequence[Decision], added: Sequence[Decision], aliases: Mapping[str, str], doing: str
) -> None:
    """Raises DataError when `added` decisions cannot stand beside the effective ones, chains over faces included."""
    new = {decision.decision_id for decision in added}
    found = resolve([*effective, *added], aliases=aliases, policy="latest").contradictions
    for contradiction in found:
        against = [said for said in effective if said.decision_id in set(contradiction.decision_ids) - new]
        if against and new & set(contradiction.decision_ids):
            raise DataError(contradicts(against[0], doing, faces=contradiction.face_ids))


def contradicts(decision: Decision, doing: str, faces: Sequence[str] = ()) -> str:
    """The message: what was said, by whom and when, and what to do."""
    said = " ".join(part for part in (decision.verb, decision.face_id, decision.other_face_id) if part)
    said += f" {decision.identity_id}" if decision.identity_id else ""
    proof = f" (by way of {', '.join(faces)})" if len(faces) > 2 else ""
    return (
        f"{doing} contradicts decision {decision.decision_id}: {decision.annotator} said `{said}` on "
        f"{decision.decided_at:%Y-%m-%d %H:%M} UTC{proof}; nothing was written. "
        f"Retract it first if it is wrong: faceloop decisions retract {decision.decision_id}"
    )

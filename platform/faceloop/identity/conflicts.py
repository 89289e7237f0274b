"""Decisions that contradict one another: which are kept under a policy, and a minimal proof for every one that is not.

`same` ties two faces and `is` a face to an identity; `different` keeps two faces apart, and no two identities may be
tied. A face that is `not_a_face` or `ignore` takes part in no tie.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from faceloop.clustering.conflict import AgreeingLinks, Conflict
from faceloop.identity.policy import Policy
from facestore.decisions import ConflictKind, Contradiction, Decision
from facestore.ids import ID_HEX, digest_of

_IDENTITY = "\x1f"  # marks an identity among names of faces


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Decisions that agree, and why the others do not stand."""

    kept: list[Decision]
    contradictions: list[Contradiction]


class Names:
    """Numbers of faces and identities, in order of first mention."""

    def __init__(self, decisions: Sequence[Decision], aliases: Mapping[str, str]) -> None:
        self._names: list[str] = []
        number_of: dict[str, int] = {}
        self.ends: list[tuple[int, int]] = []  # of each decision; a face twice where only one is named
        for decision in decisions:
            identity = decision.identity_id and _IDENTITY + aliases.get(decision.identity_id, decision.identity_id)
            pair = []
            for name in (str(decision.face_id), identity or decision.other_face_id or str(decision.face_id)):
                if (number := number_of.setdefault(name, len(number_of))) == len(self._names):
                    self._names.append(name)
                pair.append(number)
            self.ends.append((pair[0], pair[1]))
        self.anchors = [number for number, name in enumerate(self._names) if name.startswith(_IDENTITY)]
        self.count = len(self._names)

    def faces(self, path: Iterable[int]) -> tuple[str, ...]:
        """The faces among these nodes, in order."""
        names = (self._names[node] for node in path)
        return tuple(name for name in names if not name.startswith(_IDENTITY))


def newest_first(decision: Decision) -> tuple[datetime, int, str]:
    """Sort key of decisions, with `reverse=True`: by time, then version of the annotation, then id."""
    return decision.decided_at, decision.annotation_version or 0, decision.decision_id


def keep_strongest(ranked: Sequence[Decision], aliases: Mapping[str, str], policy: Policy) -> Settled:
    """Keep decisions in the given order, each unless it contradicts those kept before it."""
    names = Names(ranked, aliases)
    links = AgreeingLinks(names.anchors)
    tied: dict[int, int] = {}  # face → the first decision that ties it
    out: dict[int, int] = {}  # face → the first decision that takes it out
    kept, contradictions = [], []
    for row, (decision, (a, b)) in enumerate(zip(ranked, names.ends, strict=True)):
        match decision.verb:
            case "same" | "is":
                conflict = about_one_face(out, (a, b), row) or links.join(a, b, row)
                now = tied
            case "different":
                conflict, now = links.part(a, b, row), {}
            case "not_a_face" | "ignore":
                conflict, now = about_one_face(tied, (a,), row), out
            case _:
                conflict, now = None, {}
        if conflict is None:
            kept.append(decision)
            now.setdefault(a, row)
            now.setdefault(b, row)
        else:
            members = [ranked[index] for index in rows_of(conflict)]
            contradictions.append(contradiction_of(conflict, members, [decision], names, policy))
    return Settled(kept=kept, contradictions=contradictions)


def about_one_face(others: Mapping[int, int], ends: Iterable[int], row: int) -> Conflict | None:
    """The conflict of decision `row` with one of the others, which map face → decision, if any is on its faces."""
    found = next((end for end in ends if end in others), None)
    return None if found is None else Conflict(must_rows=(others[found], row), cannot_row=None, path=(found,))


def statement_of(decision: Decision, aliases: Mapping[str, str]) -> tuple[str, ...]:
    """What a decision says, whoever says it."""
    identity = decision.identity_id and aliases.get(decision.identity_id, decision.identity_id)
    said = (decision.face_id, decision.other_face_id, identity, decision.name, decision.value)
    return (decision.verb, *(part or "" for part in said))


def rows_of(conflict: Conflict) -> tuple[int, ...]:
    """Rows of all decisions in it."""
    return conflict.must_rows if conflict.cannot_row is None else (*conflict.must_rows, conflict.cannot_row)


def contradiction_of(
    conflict: Conflict, members: Sequence[Decision], set_aside: Sequence[Decision], names: Names, policy: Policy
) -> Contradiction:
    """The record of a conflict, with `members` in the place of its rows."""
    kind = _kind(conflict)
    ids = tuple(decision.decision_id for decision in sorted(members, key=newest_first))
    aside = {decision.decision_id for decision in set_aside}
    return Contradiction(
        contradiction_id=digest_of(["Contradiction", kind, *sorted(ids)])[:ID_HEX],
        kind=kind,
        decision_ids=ids,
        face_ids=names.faces(conflict.path),
        set_aside=tuple(decision_id for decision_id in ids if decision_id in aside),
        policy=policy,
    )


def _kind(conflict: Conflict) -> ConflictKind:
    if len(conflict.path) == 1:
        return "face"
    if conflict.cannot_row is None:
        return "identity"
    return "pair" if len(conflict.must_rows) == 1 else "chain"

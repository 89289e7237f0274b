"""impact: what another set of labels would change, identity by identity and face by face, before it is put to use."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facestore.decisions import Decision
from facestore.records import Assignment, IdentityState

Float32Array = NDArray[np.float32]
Fate = Literal["unchanged", "grown", "shrunk", "split", "merged", "retired", "new"]
_ROWS_COMPARED, _STEPS = 20_000, 50
_FALSE_MATCHES = 1e-3
FATES: tuple[Fate, ...] = ("unchanged", "grown", "shrunk", "split", "merged", "retired", "new")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """What becomes of one identity. `merged` went on under another id, `retired` under none."""

    identity_id: str
    fate: Fate
    faces_before: int
    faces_after: int
    other_ids: tuple[str, ...]  # other identities that get faces of it, most first


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceMove:
    """A face that had an identity and gets another, or none."""

    face_id: str
    state_before: IdentityState
    from_identity: str
    to_identity: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrainedDecision:
    """A standing decision that holds, although the new vectors speak against it."""

    decision_id: str
    verb: Literal["same", "different"]
    face_ids: tuple[str, str]
    similarity: float  # cosine of the two tracklets' templates
    margin: float  # how far on the wrong side of the threshold, > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """All that a switch of labels changes. Moves and changes are sorted by id, strained decisions by margin."""

    changes: tuple[IdentityChange, ...]
    moves: tuple[FaceMove, ...]
    labelled: int  # faces with an identity before
    confirmed: int  # of them, confirmed
    strained: tuple[StrainedDecision, ...]
    violated: tuple[str, ...]  # standing decisions that the new labels break: none, or the switch is refused

    @property
    def fates(self) -> dict[Fate, int]:
        found = Counter(change.fate for change in self.changes)
        return {fate: found[fate] for fate in FATES}

    @property
    def moved_share(self) -> float:
        """Share of the labelled faces that change their identity, [0, 1]."""
        return len(self.moves) / self.labelled if self.labelled else 0.0

    @property
    def confirmed_moves(self) -> int:
        return sum(move.state_before == "confirmed" for move in self.moves)

    @property
    def confirmed_moved_share(self) -> float:
        """Share of the confirmed faces that change their identity, [0, 1]."""
        return self.confirmed_moves / self.confirmed if self.confirmed else 0.0


def measure_impact(
    before: Iterable[Assignment],
    after: Iterable[Assignment],
    *,
    strained: Sequence[StrainedDecision],
    violated: Sequence[str],
) -> Impact:
    """Compare two tables of labels. Faces without an identity before move nowhere.

    A merge that gives faces another id counts them as moved: whoever keeps ids outside would see it.
    """
    had = {row.face_id: row for row in before if row.identity_id is not None}
    has = {row.face_id: row.identity_id for row in after if row.identity_id is not None}
    moves = tuple(
        FaceMove(face_id=face, state_before=row.state, from_identity=str(row.identity_id), to_identity=has.get(face))
        for face, row in sorted(had.items())
        if has.get(face) != row.identity_id
    )
    return Impact(
        changes=_changes({face: str(row.identity_id) for face, row in had.items()}, has),
        moves=moves,
        labelled=len(had),
        confirmed=sum(row.state == "confirmed" for row in had.values()),
        strained=tuple(sorted(strained, key=lambda entry: (-entry.margin, entry.decision_id))),
        violated=tuple(sorted(violated)),
    )


def _changes(had: Mapping[str, str], has: Mapping[str, str]) -> tuple[IdentityChange, ...]:
    before, after = _faces_of(had), _faces_of(has)
    return tuple(
        _change(name, before.get(name, set()), after.get(name, set()), has)
        for name in sorted(before.keys() | after.keys())
    )


def _faces_of(identity_of: Mapping[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for face, name in identity_of.items():
        found[name].add(face)
    return found


def _change(name: str, before: set[str], after: set[str], has: Mapping[str, str]) -> IdentityChange:
    holders = Counter(has[face] for face in before if face in has and has[face] != name)
    others = tuple(sorted(holders, key=lambda other: (-holders[other], other)))
    fate: Fate
    if not before:
        fate = "new"
    elif not after:
        fate = "merged" if others else "retired"
    elif others:
        fate = "split"
    elif before - after:
        fate = "shrunk"
    else:
        fate = "grown" if after - before else "unchanged"
    return IdentityChange(
        identity_id=name, fate=fate, faces_before=len(before), faces_after=len(after), other_ids=others
    )


def stranger_ceiling(templates: Float32Array, identity: NDArray[np.int64]) -> float | None:
    """The cosine that one in a thousand pairs of two identities exceeds, None where there are no two identities.

    `templates` (t, d) unit norm in an order that says nothing, such as that of hashed ids; `identity` (t,), -1 unknown.
    Each of at most 20,000 rows is compared with the 50 after it.
    """
    rows = np.flatnonzero(identity >= 0)[:_ROWS_COMPARED]
    vectors, names = templates[rows], identity[rows]
    found = []
    for step in range(1, min(_STEPS, len(rows) - 1) + 1):
        is_stranger = names[step:] != names[:-step]
        found.append(np.einsum("nd,nd->n", vectors[step:][is_stranger], vectors[:-step][is_stranger]))
    cosines = np.concatenate(found) if found else np.empty(0, np.float32)
    return float(np.quantile(cosines, 1 - _FALSE_MATCHES)) if len(cosines) else None


def strained_decisions(
    effective: Iterable[Decision],
    row_of_face: Mapping[str, int],
    templates: Float32Array,
    *,
    threshold: float,
) -> list[StrainedDecision]:
    """`same` below and `different` above the similarity at which two faces pass for one person.

    `row_of_face` names a face's row of `templates`, (t, d) unit norm. A pair within one row, or a face without a row,
    is not judged.
    """
    found = []
    for decision in effective:
        first, second = decision.face_id, decision.other_face_id
        if decision.verb not in ("same", "different") or first is None or second is None:
            continue
        one, other = row_of_face.get(first), row_of_face.get(second)
        if one is None or other is None or one == other:
            continue
        similarity = float(templates[one] @ templates[other])
        margin = threshold - similarity if decision.verb == "same" else similarity - threshold
        if margin > 0:
            found.append(
                StrainedDecision(
                    decision_id=decision.decision_id,
                    verb="same" if decision.verb == "same" else "different",
                    face_ids=(first, second),
                    similarity=similarity,
                    margin=margin,
                )
            )
    return found


def violated_decisions(
    effective: Iterable[Decision], assignments: Iterable[Assignment], *, aliases: Mapping[str, str]
) -> list[str]:
    """Ids of `same`, `different` and `is` that the labels break. A face without a row, or that people took out
    (rejected, ignored), breaks none. `aliases` maps a merged identity to the one that remains."""
    rows = {row.face_id: row for row in assignments if row.state not in ("rejected", "ignored")}
    found = []
    for decision in effective:
        first = rows.get(decision.face_id or "")
        second = rows.get(decision.other_face_id or "")
        match decision.verb:
            case "is":
                wanted = aliases.get(decision.identity_id or "", decision.identity_id)
                is_broken = first is not None and first.identity_id != wanted
            case "same":
                is_broken = first is not None and second is not None and first.identity_id != second.identity_id
            case "different":
                is_broken = (
                    first is not None
                    and second is not None
                    and first.identity_id is not None
                    and first.identity_id == second.identity_id
                )
            case _:
                is_broken = False
        if is_broken:
            found.append(decision.decision_id)
    return found

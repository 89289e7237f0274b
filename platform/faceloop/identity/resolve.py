"""Which decisions stand: retractions, second thoughts, then contradictions under a policy. Pure, in any input order."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from faceloop.identity.adjudicate import set_all_aside
from faceloop.identity.conflicts import keep_strongest, newest_first, statement_of
from faceloop.identity.policy import Policy
from faceloop.identity.replay import replay
from facestore.decisions import Contradiction, Decision, IdentityEvent

RESTRICTION = "restriction "  # begins the note of an `ignore` that restricts a person's faces
_BRINGS_BACK = ("same", "is")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What became of every decision but the retracts: it is effective, retracted, superseded or in a `set_aside`."""

    effective: tuple[Decision, ...]  # by decided_at, then decision_id; no two contradict
    contradictions: tuple[Contradiction, ...]
    retracted: tuple[str, ...]  # decision ids
    superseded: tuple[str, ...]  # by a later word of the same annotator on the same subject, or by a restriction


def resolve(decisions: Iterable[Decision], *, aliases: Mapping[str, str], policy: Policy) -> Resolution:
    """Which decisions stand. `aliases` maps a merged identity to the one that remains.

    `latest` keeps newest decisions first, `majority` what most annotators said of a pair first; an older or weaker one
    that contradicts those kept is set aside. `adjudicate` sets aside all that contradict one another. Near-linear in
    decisions, but for the proofs: each costs its chain and the faces around it.
    """
    by_id = {decision.decision_id: decision for decision in decisions}
    retracted = _retracted(by_id)
    stated = [entry for entry in by_id.values() if entry.verb != "retract" and entry.decision_id not in retracted]
    ranked = sorted(_last_words(_allowed(stated)), key=newest_first, reverse=True)
    if policy == "majority":
        ranked = _most_voted_first(ranked, aliases)
    settle = set_all_aside if policy == "adjudicate" else keep_strongest
    settled = settle(ranked, aliases, policy)
    said_last = {decision.decision_id for decision in ranked}
    return Resolution(
        effective=tuple(sorted(settled.kept, key=lambda entry: (entry.decided_at, entry.decision_id))),
        contradictions=tuple(sorted(settled.contradictions, key=lambda found: (found.kind, found.decision_ids))),
        retracted=tuple(sorted(entry for entry in retracted if by_id[entry].verb != "retract")),
        superseded=tuple(sorted(entry.decision_id for entry in stated if entry.decision_id not in said_last)),
    )


def aliases_of(events: Sequence[IdentityEvent]) -> dict[str, str]:
    """Absorbed identity → the one that remains, over merges that are not undone; chains are closed.

    Raises DataError for an undo of an event that is not among them.
    """
    into: dict[str, str] = {}

    def last(identity: str) -> str:
        while identity in into:
            identity = into[identity]
        return identity

    for event in replay({}, events).standing:
        if event.kind == "merge" and event.other_identity_id is not None:
            absorbed, remains = last(event.other_identity_id), last(event.identity_id)
            if absorbed != remains:
                into[absorbed] = remains
    return {absorbed: last(absorbed) for absorbed in sorted(into)}


def _retracted(by_id: Mapping[str, Decision]) -> set[str]:
    """Decisions that a retract takes back, unless that is itself taken back. Who retracts, and when, is no matter."""
    open_retracts: dict[str, int] = defaultdict(int)  # by whom they retract: those not yet known to stand or fall
    for decision in by_id.values():
        if decision.retracts is not None:
            open_retracts[decision.retracts] += 1
    settled = [decision_id for decision_id in by_id if not open_retracts[decision_id]]
    retracted: set[str] = set()
    while settled:
        decision = by_id[settled.pop()]
        if (target := decision.retracts) is None or target not in by_id:
            continue
        if decision.decision_id not in retracted:
            retracted.add(target)
        open_retracts[target] -= 1
        if not open_retracts[target]:
            settled.append(target)
    return retracted


def _allowed(stated: Sequence[Decision]) -> list[Decision]:
    """Without what would bring a restricted face back into use: only lifting its restriction does."""
    ignored = [said for said in stated if said.verb == "ignore"]
    restricted = {said.face_id for said in ignored if (said.note or "").startswith(RESTRICTION)}
    return [
        said
        for said in stated
        if said.verb not in _BRINGS_BACK or (said.face_id not in restricted and said.other_face_id not in restricted)
    ]


def _last_words(stated: Iterable[Decision]) -> list[Decision]:
    """Without earlier versions of the same annotation, and what its annotator said again of the same subject."""
    stated = list(stated)
    versions: dict[str, int] = {}
    for decision in stated:
        if decision.annotation_id is not None:
            known = versions.get(decision.annotation_id, 0)
            versions[decision.annotation_id] = max(known, decision.annotation_version or 0)
    last: dict[tuple[str, ...], Decision] = {}
    for decision in stated:
        if decision.annotation_id is None or (decision.annotation_version or 0) == versions[decision.annotation_id]:
            subject = (decision.annotator, *_subject(decision))
            last[subject] = max(decision, last.get(subject, decision), key=newest_first)
    return list(last.values())


def _subject(decision: Decision) -> tuple[str, ...]:
    match decision.verb:
        case "same" | "different":
            return "pair", str(decision.face_id), str(decision.other_face_id)
        case "attribute":
            return "attribute", str(decision.face_id), str(decision.name)
        case _:  # who or what one face is
            return "face", str(decision.face_id)


def _most_voted_first(newest: Sequence[Decision], aliases: Mapping[str, str]) -> list[Decision]:
    voters: dict[tuple[str, ...], set[str]] = defaultdict(set)
    place: dict[tuple[str, ...], int] = {}
    for decision in newest:
        said = statement_of(decision, aliases)
        voters[said].add(decision.annotator)
        place.setdefault(said, len(place))

    def rank(decision: Decision) -> tuple[int, int]:
        said = statement_of(decision, aliases)
        return -len(voters[said]), place[said]

    return sorted(newest, key=rank)

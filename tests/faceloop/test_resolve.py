"""Which decisions stand: small disputes whose answer is plain, and what holds for any log."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.clustering.conflict import minimal_conflict
from faceloop.identity.policy import Policy
from faceloop.identity.resolve import Resolution, aliases_of, resolve
from facestore.decisions import Contradiction, Decision, IdentityEvent, decide, identity_event

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
POLICIES: tuple[Policy, ...] = ("latest", "majority", "adjudicate")
OUT = {"not_a_face", "ignore"}


def _same(a: str, b: str, minute: int, by: str = "ann") -> Decision:
    return decide("same", face_id=a, other_face_id=b, annotator=by, decided_at=NOON + timedelta(minutes=minute))


def _different(a: str, b: str, minute: int, by: str = "ann") -> Decision:
    return decide("different", face_id=a, other_face_id=b, annotator=by, decided_at=NOON + timedelta(minutes=minute))


def _is(face: str, identity: str, minute: int, by: str = "ann") -> Decision:
    return decide("is", face_id=face, identity_id=identity, annotator=by, decided_at=NOON + timedelta(minutes=minute))


def _out(face: str, minute: int, by: str = "ann") -> Decision:
    return decide("not_a_face", face_id=face, annotator=by, decided_at=NOON + timedelta(minutes=minute))


def _retract(decision: Decision, minute: int, by: str = "ann") -> Decision:
    return decide("retract", retracts=decision.decision_id, annotator=by, decided_at=NOON + timedelta(minutes=minute))


def _resolved(decisions: Iterable[Decision], policy: Policy = "latest", **aliases: str) -> Resolution:
    return resolve(decisions, aliases=aliases, policy=policy)


def _agree(decisions: Iterable[Decision]) -> bool:
    """The definition, by brute force: close the ties, then look for anything that may not be tied."""
    group: dict[str, set[str]] = defaultdict(set)
    out, apart, tied = set(), [], set()
    for decision in decisions:
        face, other = str(decision.face_id), decision.other_face_id or decision.identity_id
        if decision.verb in OUT:
            out.add(face)
        elif decision.verb == "different":
            apart.append((face, str(other)))
        elif decision.verb in {"same", "is"}:
            tied |= {face, str(other)}
            joined = {face, str(other)} | group[face] | group[str(other)]
            for name in joined:
                group[name] = joined
    two_names = any(sum(name.startswith("person") for name in names) > 1 for names in group.values())
    return not two_names and not out & tied and not any(b in group[a] for a, b in apart)


def _only(resolution: Resolution) -> Contradiction:
    (found,) = resolution.contradictions
    return found


def test_of_two_words_on_one_pair_the_newer_stands_and_the_older_is_shown() -> None:
    old, new = _same("a", "b", 0), _different("a", "b", 1, by="bob")
    resolution = _resolved([old, new])
    assert resolution.effective == (new,)
    found = _only(resolution)
    assert (found.kind, found.face_ids, found.policy) == ("pair", ("a", "b"), "latest")
    assert found.decision_ids == (old.decision_id, new.decision_id)
    assert found.set_aside == (old.decision_id,)


def test_a_chain_is_proved_by_its_faces_in_order() -> None:
    chain = [_same("a", "b", 0), _same("b", "c", 1), _same("c", "d", 2)]
    wrong = _different("a", "d", 3)
    found = _only(_resolved([*chain, wrong]))
    assert found.kind == "chain"
    assert found.face_ids in (("a", "b", "c", "d"), ("d", "c", "b", "a"))
    assert found.decision_ids == tuple(decision.decision_id for decision in [*chain, wrong])
    assert found.set_aside == (chain[0].decision_id,)


def test_of_two_ways_round_the_shortest_is_the_proof() -> None:
    around = [_same("a", "b", 1), _same("b", "c", 2), _same("c", "d", 3), _same("a", "d", 4, by="bob")]
    wrong = _different("a", "d", 0)
    found = _only(_resolved([*around, wrong]))
    assert found.kind == "pair"
    assert found.set_aside == (wrong.decision_id,)


def test_two_names_of_one_tied_group_contradict_unless_they_were_merged() -> None:
    said = [_is("a", "person-1", 0), _same("a", "b", 1), _is("b", "person-2", 2)]
    found = _only(_resolved(said))
    assert (found.kind, set(found.face_ids)) == ("identity", {"a", "b"})
    assert found.set_aside == (said[0].decision_id,)
    merged = resolve(said, aliases={"person-2": "person-1"}, policy="latest")
    assert (merged.contradictions, len(merged.effective)) == ((), 3)


def test_a_face_named_twice_by_two_people_is_a_contradiction_of_one_face() -> None:
    found = _only(_resolved([_is("a", "person-1", 0), _is("a", "person-2", 1, by="bob")]))
    assert (found.kind, found.face_ids) == ("identity", ("a",))


def test_faces_of_one_name_cannot_be_different() -> None:
    found = _only(_resolved([_is("a", "person-1", 0), _is("b", "person-1", 1), _different("a", "b", 2, by="bob")]))
    assert (found.kind, set(found.face_ids), len(found.decision_ids)) == ("chain", {"a", "b"}, 3)


def test_a_face_that_is_none_takes_part_in_no_tie() -> None:
    tie, out = _same("a", "b", 0), _out("b", 1, by="bob")
    resolution = _resolved([tie, out, _different("b", "c", 2)])
    assert (_only(resolution).kind, _only(resolution).face_ids) == ("face", ("b",))
    assert tie not in resolution.effective
    assert len(resolution.effective) == 2


def test_an_annotator_who_thinks_again_contradicts_nobody() -> None:
    first, second = _same("a", "b", 0), _different("b", "a", 1)
    resolution = _resolved([first, second])
    assert (resolution.effective, resolution.contradictions) == ((second,), ())
    assert resolution.superseded == (first.decision_id,)


def test_a_new_version_of_an_annotation_replaces_all_that_the_old_one_said() -> None:
    def version(number: int, verb: str, other: str) -> Decision:
        return decide(
            "same" if verb == "same" else "different",
            face_id="a",
            other_face_id=other,
            annotator="ann",
            decided_at=NOON,
            annotation_id="7",
            annotation_version=number,
        )

    old = [version(1, "same", "b"), version(1, "same", "c")]
    new = version(2, "different", "b")
    resolution = _resolved([*old, new])
    assert resolution.effective == (new,)
    assert set(resolution.superseded) == {decision.decision_id for decision in old}


def test_a_retract_may_be_retracted() -> None:
    said = _same("a", "b", 0)
    once = _retract(said, 1)
    twice = _retract(once, 2)
    assert _resolved([said, once]).effective == ()
    assert _resolved([said, once]).retracted == (said.decision_id,)
    assert _resolved([said, once, twice]).effective == (said,)
    assert _resolved([said, once, _retract(said, 1, by="bob"), twice]).effective == ()


def test_the_majority_outweighs_the_last_word() -> None:
    many = [_same("a", "b", minute, by=f"annotator {minute}") for minute in range(3)]
    late = _different("a", "b", 9, by="bob")
    assert _resolved([*many, late], "latest").effective == (late,)
    assert _resolved([*many, late], "majority").effective == tuple(many)
    assert _only(_resolved([*many, late], "majority")).set_aside == (late.decision_id,)


def test_one_person_who_repeats_himself_is_no_majority() -> None:
    loud = [_same("a", "b", minute, by="bob") for minute in range(5)]
    assert _resolved([*loud, _different("a", "b", 9)], "majority").effective[0].verb == "different"


def test_what_is_left_to_people_stands_on_neither_side() -> None:
    dispute = [_same("a", "b", 0), _same("a", "b", 1, by="bob"), _different("a", "b", 2, by="eve")]
    around = [_same("a", "c", 3), _same("c", "b", 4)]
    bystander = _same("x", "y", 0)
    resolution = _resolved([*dispute, *around, bystander], "adjudicate")
    assert resolution.effective == (bystander,)
    aside = {decision_id for found in resolution.contradictions for decision_id in found.set_aside}
    assert aside == {decision.decision_id for decision in [*dispute, *around]}
    assert {found.kind for found in resolution.contradictions} == {"pair", "chain"}


def test_merges_that_stand_give_aliases_and_chains_are_closed() -> None:
    def merge(remains: str, absorbed: str, minute: int) -> IdentityEvent:
        return identity_event(
            "merge",
            identity_id=remains,
            other_identity_id=absorbed,
            annotator="ann",
            happened_at=NOON + timedelta(minutes=minute),
        )

    first, second = merge("person-2", "person-1", 0), merge("person-3", "person-2", 1)
    assert aliases_of([second, first]) == {"person-1": "person-3", "person-2": "person-3"}
    undo = identity_event(
        "undo", identity_id="person-3", undoes=second.event_id, annotator="ann", happened_at=NOON + timedelta(hours=1)
    )
    assert aliases_of([first, second, undo]) == {"person-1": "person-2"}
    assert aliases_of([]) == {}


def test_every_broken_cannot_link_of_rows_is_proved_by_a_shortest_path() -> None:
    must = np.array([[0, 1], [1, 2], [2, 3], [0, 3], [5, 6]])
    found = minimal_conflict(must, np.array([[0, 2], [4, 5], [3, 1], [5, 6]]), 7)
    assert [conflict.cannot_row for conflict in found] == [0, 2, 3]
    assert [len(conflict.must_rows) for conflict in found] == [2, 2, 1]
    assert found[2].path == (5, 6)
    for conflict in found:
        ends = [set(must[row].tolist()) for row in conflict.must_rows]
        assert all(set(step) == end for step, end in zip(pairwise(conflict.path), ends, strict=True))
    assert minimal_conflict(np.empty((0, 2), np.int64), np.array([[0, 1]]), 2) == []


FACES = st.sampled_from("abcdefg")
PEOPLE = st.sampled_from(["ann", "bob", "eve"])
MINUTES = st.integers(0, 20)


@st.composite
def _logs(draw: st.DrawFn) -> list[Decision]:
    log: list[Decision] = []
    for _ in range(draw(st.integers(0, 14))):
        a, minute, by = draw(FACES), draw(MINUTES), draw(PEOPLE)
        kind = draw(st.sampled_from(["same", "same", "same", "different", "different", "is", "out", "retract"]))
        b = draw(st.sampled_from([face for face in "abcdefg" if face != a]))
        if kind == "same":
            log.append(_same(a, b, minute, by))
        elif kind == "different":
            log.append(_different(a, b, minute, by))
        elif kind == "is":
            log.append(_is(a, draw(st.sampled_from(["person-1", "person-2"])), minute, by))
        elif kind == "out":
            log.append(_out(a, minute, by))
        elif log:
            log.append(_retract(draw(st.sampled_from(log)), minute, by))
    return log


def _find(log: Sequence[Decision], ids: Iterable[str]) -> list[Decision]:
    by_id = {decision.decision_id: decision for decision in log}
    return [by_id[decision_id] for decision_id in ids]


@given(log=_logs(), policy=st.sampled_from(POLICIES))
def test_what_stands_agrees_and_nothing_vanishes_without_a_reason(log: list[Decision], policy: Policy) -> None:
    resolution = _resolved(log, policy)
    assert _agree(resolution.effective)
    effective = {decision.decision_id for decision in resolution.effective}
    aside = {decision_id for found in resolution.contradictions for decision_id in found.set_aside}
    said = {decision.decision_id for decision in log}
    retracts = {decision.decision_id for decision in log if decision.verb == "retract"}
    assert effective | aside | set(resolution.retracted) | set(resolution.superseded) | retracts == said
    assert not effective & (aside | set(resolution.retracted) | set(resolution.superseded) | retracts)


@given(log=_logs(), policy=st.sampled_from(POLICIES))
def test_a_proof_contradicts_and_without_any_one_of_it_the_rest_agrees(log: list[Decision], policy: Policy) -> None:
    for found in _resolved(log, policy).contradictions:
        members = _find(log, found.decision_ids)
        assert not _agree(members)
        assert all(_agree(rest) for rest in combinations(members, len(members) - 1))
        assert set(found.set_aside) <= set(found.decision_ids)
        assert found.set_aside
        named = {face for member in members for face in (member.face_id, member.other_face_id)}
        assert set(found.face_ids) <= named


@given(log=_logs(), policy=st.sampled_from(POLICIES), order=st.randoms(use_true_random=False))
def test_the_order_of_the_log_does_not_matter(log: list[Decision], policy: Policy, order: Random) -> None:
    shuffled = [*log, *log[:2]]
    order.shuffle(shuffled)
    assert _resolved(shuffled, policy) == _resolved(log, policy)


@given(log=_logs(), policy=st.sampled_from(POLICIES), more=_logs())
def test_what_is_retracted_might_never_have_been_said(
    log: list[Decision], policy: Policy, more: list[Decision]
) -> None:
    retracted = {entry.retracts for entry in log}
    extra = [entry for entry in more if entry not in log and entry.verb != "retract"]
    extra = [entry for entry in extra if entry.decision_id not in retracted]
    undone = _resolved([*log, *extra, *(_retract(entry, 30) for entry in extra)], policy)
    before = _resolved(log, policy)
    assert (undone.effective, undone.contradictions) == (before.effective, before.contradictions)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_empty_log_resolves_to_nothing(policy: Policy) -> None:
    assert _resolved([], policy) == Resolution(effective=(), contradictions=(), retracted=(), superseded=())

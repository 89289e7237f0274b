from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.clustering.constraints import Constraints
from faceloop.questions.arrange import Plan, arrange
from faceloop.questions.asking import as_question
from faceloop.questions.drafting import Doubts, draft_questions, find_doubts
from faceloop.questions.drafts import Draft, Option
from faceloop.questions.expectation import Expectation, expect
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.situation import Situation
from facereview.kinds import OddOnesOut, SamePerson, WhoIsThis, subject_of

from .question_world import NO_PAIRS, two_faced_world
from .situation_world import select_params, situation_of

WORLD = two_faced_world(people=24)
HOUR_S = 3600.0


def plan_of(situation: Situation, params: SelectParams, budget_s: float = HOUR_S) -> Plan:
    doubts = find_doubts(situation, params)
    return arrange(
        draft_questions(situation, doubts, params), situation, expect(situation, doubts), params, budget_s=budget_s
    )


def inside(label: int, row: int, gain: float = 1.0, rows: tuple[int, ...] = (0,)) -> Draft:
    option = Option(rows=(row,), label=label, similarity=0.5, chance=0.5, margin=0.0, pairs=2 * gain)
    return Draft(
        kind="same_person", reason="weak_member", detail="", rows=rows, label=label, options=(option,),
        is_inside=True, gain=gain, seconds=4.0, margin=0.0,
    )  # fmt: skip


MUCH = Expectation(right=1e6, wrong=1e6, missed=1e6)


def test_the_two_looks_of_a_person_come_before_lookalikes() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    plan = plan_of(situation, select_params("balance=0.0", "window=0"))
    joins = [draft for draft in plan.chosen if not draft.is_inside]
    is_true = [WORLD.truth[draft.rows[0]] == WORLD.truth[draft.options[0].rows[0]] for draft in joins]
    assert is_true[:8] == [True] * 8
    assert not any(is_true[8:])


def test_an_unknown_near_several_identities_is_asked_about_once() -> None:
    situation = situation_of(WORLD)
    lookalike = int(situation.given.labels[np.flatnonzero(WORLD.truth == 9)[0]])
    identities = {label: name for label, name in situation.identity_of_label.items() if label != lookalike}
    situation = replace(situation, identity_of_label=identities)
    params = select_params("balance=0.0")
    doubts = find_doubts(situation, params)
    drafts = draft_questions(situation, doubts, params)
    assert {draft.kind for draft in drafts} >= {"same_person", "who_is_this"}
    plan = plan_of(situation, params)
    unknown = Counter(
        label
        for draft in plan.chosen
        if not draft.is_inside
        for label in draft.labels
        if situation.identity(label) is None
    )
    assert unknown
    assert set(unknown.values()) == {1}
    assert plan.repeating > 0


def test_identities_are_never_asked_about_in_a_circle() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    plan = plan_of(situation, select_params())
    joined: dict[int, int] = {}

    def root(label: int) -> int:
        while label in joined:
            label = joined[label]
        return label

    joins = [draft for draft in plan.chosen if not draft.is_inside]
    assert len(joins) > 8
    for draft in joins:
        one, other = root(draft.label), root(draft.options[0].label)
        assert one != other
        joined[one] = other


def test_one_grid_takes_the_place_of_many_pairs_of_a_cluster() -> None:
    labels = WORLD.truth.astype(np.int64)
    sure, unsure = 0.999, 0.03
    confidence = np.where(labels == 5, unsure, sure).astype(np.float32)
    situation = situation_of(WORLD, labels=labels, confidence=confidence)
    params = select_params("balance=0.0")
    doubts = find_doubts(situation, params)
    drafts = [
        draft
        for draft in draft_questions(situation, doubts, params)
        if draft.labels == {5} and draft.reason == "weak_member"
    ]
    pairs = [draft for draft in drafts if draft.kind == "same_person"]
    (grid,) = [draft for draft in drafts if draft.kind == "odd_ones_out"]
    assert len(pairs) > len(grid.options) >= 2
    assert grid.gain == pytest.approx(sum((1 - one.chance) * one.pairs for one in grid.options))
    assert grid.seconds == 6 + 0.5 * len(grid.options)
    assert grid.rate > max(pair.rate for pair in pairs)
    chosen = [draft for draft in plan_of(situation, params).chosen if draft.is_inside and draft.label == 5]
    assert [draft.kind for draft in chosen] == ["odd_ones_out"]


def test_what_an_answer_ties_or_a_picture_keeps_apart_is_not_asked() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    first = next(draft for draft in plan_of(situation, select_params()).chosen if not draft.is_inside)
    pair = np.array([[first.rows[0], first.options[0].rows[0]]])
    for known in (
        Constraints(must_link=pair, cannot_link=NO_PAIRS),
        Constraints(must_link=NO_PAIRS, cannot_link=pair),
    ):
        told = situation_of(WORLD, constraints=known, fewest_nodes=1)
        for draft in plan_of(told, select_params()).chosen:
            shown = {draft.rows[0], *(option.rows[0] for option in draft.options)}
            assert not set(pair[0].tolist()) <= shown


def test_a_shared_key_and_a_committee_say_why_in_words() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    far = max(
        ((a, b) for a in range(5, 20) for b in range(a + 1, 20)),
        key=lambda pair: -float(situation.given.clusters().similarity(np.array([pair[0]]), np.array([pair[1]]))[0]),
    )
    confidence = situation.confidence.copy()
    stray = int(np.flatnonzero(situation.given.labels == 3)[0])
    confidence[stray] = 0.02
    keyed = replace(situation, shared_keys={far: 2}, differing={stray: 1 / 3}, confidence=confidence)
    drafts = draft_questions(keyed, find_doubts(keyed, select_params("key_log_odds=8.0")), select_params())
    assert [draft.detail for draft in drafts if draft.reason == "key_says_same"] == ["2 shared keys"]
    assert {draft.detail for draft in drafts if draft.reason == "committee_differs"} == {"1 of 3 models differ"}


def test_merging_two_confirmed_identities_needs_a_quorum_and_nothing_else_does() -> None:
    situation = situation_of(WORLD)
    everybody = frozenset(situation.identity_of_label.values())
    told = replace(situation, confirmed=everybody)
    params = select_params()
    questions = [as_question(draft, told, params) for draft in plan_of(told, params).chosen]
    bridges = {question.needs for question in questions if question.reason == "bridge_between_identities"}
    assert bridges == {2}
    assert {question.needs for question in questions if question.reason != "bridge_between_identities"} == {1}
    before = plan_of(situation, params).chosen
    assert {as_question(draft, situation, params).needs for draft in before} == {1}


def test_strips_show_different_nodes_of_a_cluster_and_begin_with_the_one_asked_about() -> None:
    situation = situation_of(WORLD)
    params = select_params()
    for draft in plan_of(situation, params).chosen:
        question = as_question(draft, situation, params)
        subject = subject_of(question)
        assert 0 <= question.chance <= 1
        match subject:
            case SamePerson(left=left, right=right):
                asked = {situation.shots[draft.rows[0]][0], situation.shots[draft.options[0].rows[0]][0]}
                assert {left.face_ids[0], right.face_ids[0]} == asked
                assert max(len(left.face_ids), len(right.face_ids)) <= 4
            case OddOnesOut(reference=reference, members=members):
                assert {member.face_id for member in members}.isdisjoint(reference.face_ids)
            case WhoIsThis(candidates=candidates):
                assert sum(candidate.chance for candidate in candidates) <= 1.001
                assert [one.chance for one in candidates] == sorted((one.chance for one in candidates), reverse=True)


def test_asking_stops_at_the_budget_at_little_gain_and_at_the_target() -> None:
    situation = situation_of(WORLD)
    few = plan_of(situation, select_params(), budget_s=20.0)
    assert (few.stop, few.seconds <= 20.0, len(few.chosen) >= 2) == ("over_budget", True, True)
    picky = plan_of(situation, select_params("min_gain_per_minute=20.0"))
    assert picky.stop == "little_gain"
    assert all(draft.rate * 60 >= 20 for draft in picky.chosen)
    easy = plan_of(situation, select_params("target_f=0.98"))
    assert easy.stop == "target_reached"
    assert easy.before.pairwise_f < 0.98 <= easy.after.pairwise_f
    whole = plan_of(situation, select_params("target_f=1.0", "min_gain_per_minute=0.0"))
    assert whole.stop == "nothing_left"
    assert (whole.left, plan_of(situation, select_params(), budget_s=0.0).chosen) == (0, ())


def test_no_question_follows_another_about_the_same_cluster_as_long_as_there_are_others() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    drafts = [inside(label, 6 * label + 1, gain=100.0 - label, rows=(6 * label,)) for label in range(6, 24)]
    bridge = replace(drafts[0], is_inside=False, gain=99.5)
    bridge = replace(bridge, options=(replace(bridge.options[0], label=7, rows=(43,)),))
    ordered = sorted([*drafts, bridge], key=lambda draft: -draft.rate)
    plan = arrange(ordered, situation, MUCH, select_params("window=4", "balance=0.0"), budget_s=HOUR_S)
    assert len(plan.chosen) == len(ordered)
    places = [place for place, draft in enumerate(plan.chosen) if 6 in draft.labels]
    assert max(places) - min(places) > 4
    plain = arrange(ordered, situation, MUCH, select_params("window=0", "balance=0.0"), budget_s=HOUR_S)
    assert list(plain.chosen) == ordered


def test_a_subset_that_has_had_its_share_waits() -> None:
    situation = situation_of(WORLD, fewest_nodes=1)
    own = [row for row in range(36, 144) if row % 3 == 0]  # of album0
    other = [row for row in range(36, 144) if row % 3 == 1]
    drafts = [inside(1000 + row, row + 1, gain=10.0 - row / 1000, rows=(row,)) for row in own[:12]]
    drafts += [inside(1000 + row, row + 1, gain=9.0 - row / 1000, rows=(row,)) for row in other[:12]]
    ordered = sorted(drafts, key=lambda draft: -draft.rate)

    def first_albums(balance: float) -> Counter[str]:
        params = select_params("window=0", f"balance={balance}")
        plan = arrange(ordered, situation, MUCH, params, budget_s=48.0)
        return Counter(situation.best_sight(draft.rows[0]).subset for draft in plan.chosen)

    assert first_albums(0.0) == {"album0": 12}
    assert first_albums(0.5)["album1"] >= 4


@settings(max_examples=25)
@given(
    gains=st.lists(st.floats(0.01, 50), min_size=1, max_size=30),
    budget_s=st.floats(0, 150),
    strategy=st.sampled_from(["expected_gain", "margin", "random"]),
)
def test_a_plan_keeps_its_budget_loses_no_draft_and_repeats_none(
    gains: list[float], budget_s: float, strategy: str
) -> None:
    drafts = [inside(place % 20, place + 1, gain=gain, rows=(place,)) for place, gain in enumerate(gains)]
    ordered = sorted(drafts, key=lambda draft: -draft.rate)
    params = select_params(f"strategy={strategy}", "target_f=1.0", "min_gain_per_minute=0.0")
    plan = arrange(ordered, SITUATION, MUCH, params, budget_s=budget_s)
    assert plan.seconds <= budget_s
    assert len(plan.chosen) + plan.repeating + plan.left == len(drafts)
    assert len({draft.label for draft in plan.chosen}) == len(plan.chosen)
    assert plan.after.pairwise_f >= plan.before.pairwise_f
    assert plan == arrange(ordered, SITUATION, MUCH, params, budget_s=budget_s)


SITUATION = situation_of(WORLD, fewest_nodes=1)


def test_margin_takes_the_closest_first_and_random_follows_its_seed() -> None:
    drafts = [
        replace(inside(label, 6 * label + 1, rows=(6 * label,)), margin=abs(label - 12) / 100) for label in range(6, 20)
    ]
    margin = arrange(drafts, SITUATION, MUCH, select_params("strategy=margin", "window=0"), budget_s=HOUR_S)
    assert all(one.margin <= other.margin for one, other in pairwise(margin.chosen))
    orders = [
        arrange(drafts, SITUATION, MUCH, select_params("strategy=random", f"seed={seed}"), budget_s=HOUR_S).chosen
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


def test_what_is_expected_counts_pairs_once() -> None:
    params = select_params()
    two = two_faced_world(people=2, two_faced=0)
    situation = situation_of(two)
    half = Option(rows=(6,), label=0, similarity=0.4, chance=0.75, margin=-0.1, pairs=9.0)
    member = Option(rows=(1,), label=0, similarity=0.4, chance=0.5, margin=-0.1, pairs=5.0)
    sides = (replace(half, label=0, pairs=36.0), replace(half, label=1, pairs=36.0))
    doubts = Doubts(
        merges=(sides, sides),
        splits=(((0,), half),),
        members=(member,),
        reference=find_doubts(situation, params).reference,
    )
    found = expect(situation, doubts)
    assert found.wrong == pytest.approx(2.5)  # of the member, not of the halves besides
    assert found.right == pytest.approx(2 * 15 - 2.5)
    assert found.missed == pytest.approx(36.0)  # 0.75 twice is no more than once
    better = found.after(parted=2.5, joined=100.0)
    assert (better.wrong, better.missed, better.pairwise_f) == (0.0, 0.0, 1.0)
    assert Expectation(right=0.0, wrong=0.0, missed=0.0).pairwise_f == 1.0

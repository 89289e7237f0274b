"""Honeypots stand where nobody expects them, and the same questions are asked twice in every plan."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facereview.checks import ask_twice, place_honeypots
from facereview.kinds import SamePersonAnswer
from facestore.errors import ConfigError
from facestore.questions import Question

from .answered import pair

SAME = SamePersonAnswer(verdict="same")
PLAN = [pair(number, rank=number) for number in range(300)]
POTS = [pair(1000 + number, expected=SAME) for number in range(60)]


def places(mixed: list[Question]) -> list[int]:
    return [question.rank for question in mixed if question.expected is not None]


def test_a_tenth_of_all_tasks_are_honeypots_without_gaps_and_without_a_period() -> None:
    found = places(place_honeypots(PLAN, POTS, share=0.1, seed=1))
    steps = [later - earlier for earlier, later in pairwise(found)]
    assert len(found) in (33, 34)
    assert max(steps) <= 20
    assert len(set(steps)) > 5


@given(st.integers(0, 60), st.integers(0, 12), st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5]), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_questions_keep_their_order_and_ranks_have_no_holes(count: int, pots: int, share: float, seed: int) -> None:
    mixed = place_honeypots(PLAN[:count], POTS[:pots], share=share, seed=seed)
    assert [question.rank for question in mixed] == list(range(len(mixed)))
    plain = [question.question_id for question in mixed if question.expected is None]
    assert plain == [question.question_id for question in PLAN[:count]]
    assert len(places(mixed)) <= min(pots, -(-count * share // (1 - share)))
    assert place_honeypots(PLAN[:count][::-1], POTS[:pots][::-1], share=share, seed=seed) == mixed


def test_another_seed_gives_other_places_and_other_honeypots() -> None:
    first, second = (place_honeypots(PLAN, POTS, share=0.1, seed=seed) for seed in (1, 2))
    assert places(first) != places(second)
    ids = [{question.question_id for question in mixed if question.expected is not None} for mixed in (first, second)]
    assert ids[0] != ids[1]


def test_a_question_is_drawn_to_be_asked_twice_in_every_plan_or_in_none() -> None:
    whole = ask_twice(PLAN, share=0.2, seed=3)
    twice = {question.question_id for question in whole if question.needs == 2}
    assert 0.12 < len(twice) / len(PLAN) < 0.28
    part = ask_twice(PLAN[40:90], share=0.2, seed=3)
    assert {question.question_id for question in part if question.needs == 2} == twice & {
        question.question_id for question in PLAN[40:90]
    }


def test_a_quorum_stays_and_honeypots_are_asked_as_often_as_they_were() -> None:
    asked = [pair(1, needs=3), pair(2), pair(3, expected=SAME)]
    assert [question.needs for question in ask_twice(asked, share=1.0, seed=0)] == [3, 2, 1]


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_a_share_of_honeypots_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="honeypot_share"):
        place_honeypots(PLAN, POTS, share=share, seed=0)


def test_a_honeypot_without_an_answer_is_refused() -> None:
    with pytest.raises(ConfigError, match="checks nobody"):
        place_honeypots(PLAN, [pair(5000)], share=0.1, seed=0)


def test_a_share_of_overlap_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap_share"):
        ask_twice(PLAN, share=1.5, seed=0)

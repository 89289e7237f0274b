"""The same questions are asked of two in every plan."""

import pytest

from facereview.kinds import SamePersonAnswer
from facereview.quality.checks import drawn
from facestore.errors import ConfigError

from .answered import pair

PLAN = [pair(number, rank=number) for number in range(300)]


def test_a_question_is_drawn_in_every_plan_or_in_none() -> None:
    whole = drawn(PLAN, share=0.2, seed=3)
    assert 0.12 < len(whole) / len(PLAN) < 0.28
    part = PLAN[40:90]
    assert drawn(part, share=0.2, seed=3) == whole & {question.question_id for question in part}
    assert drawn(PLAN, share=0.2, seed=4) != whole


def test_honeypots_are_never_drawn_and_the_ends_of_the_range_mean_what_they_say() -> None:
    honeypot = pair(1000, expected=SamePersonAnswer(verdict="same"))
    assert drawn([*PLAN, honeypot], share=1.0, seed=0) == {question.question_id for question in PLAN}
    assert drawn(PLAN, share=0.0, seed=0) == set()


def test_a_share_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="overlap_share"):
        drawn(PLAN, share=1.5, seed=0)

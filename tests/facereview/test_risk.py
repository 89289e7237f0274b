"""What settled may be wrong: worth as much as the pairs that hang on it times the chance of a slip."""

import pytest

from facereview.answers.consensus import Trust
from facereview.kinds import SamePersonAnswer
from facereview.quality.risk import risks_of

from .answered import answered, came_to, pair

TRUST = Trust(certainty=0.9, error_rate=0.03, error_rates={})


def test_the_risk_is_the_chance_of_a_slip_times_the_pairs_by_the_time() -> None:
    asked = pair(1, chance=0.5, gain=6.0)  # 12 pairs hang on it
    risks = risks_of([asked], [answered(asked, "x", "same")], came_to(asked, "settled"), TRUST)
    assert risks[asked.question_id] == pytest.approx(0.03 * 12 / 4 * 60)


def test_an_answer_against_the_odds_is_worth_more_to_ask_again_than_one_with_them() -> None:
    against, expected = pair(1, chance=0.3, gain=3.0), pair(2, chance=0.7, gain=7.0)  # ten pairs each
    answers = [answered(against, "x", "same"), answered(expected, "x", "same")]
    risks = risks_of([against, expected], answers, came_to(against, "settled") | came_to(expected, "settled"), TRUST)
    assert risks[against.question_id] > 4 * risks[expected.question_id] > 0


def test_honeypots_open_questions_and_what_nobody_answered_carry_none() -> None:
    honeypot, unasked = pair(1, expected=SamePersonAnswer(verdict="same")), pair(2)
    answers = [answered(honeypot, "x", "same")]
    assert risks_of([honeypot, unasked], answers, came_to(honeypot, "settled"), TRUST) == {}


def test_what_would_not_settle_by_what_is_known_of_its_annotator_today_may_be_either() -> None:
    asked = pair(1, chance=0.5, gain=6.0)
    careless = Trust(certainty=0.9, error_rate=0.03, error_rates={"x": 0.3})
    risks = risks_of([asked], [answered(asked, "x", "same")], came_to(asked, "settled"), careless)
    assert risks[asked.question_id] == pytest.approx(0.5 * 12 / 4 * 60)

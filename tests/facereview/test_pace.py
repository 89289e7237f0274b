"""Seconds of people: robust against breaks, and what they buy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.kinds import SamePersonAnswer
from facereview.quality.pace import PaceParams, effort_of, hasty_answers, paces_of
from facestore.errors import ConfigError

from .answered import answered, came_to, pair

PARAMS = PaceParams(longest_s=120.0, hasty_s=0.7)


def test_a_coffee_break_counts_as_the_cap() -> None:
    asked = [pair(number) for number in range(5)]
    times = (2.0, 4.0, 6.0, 8.0, 3600.0)
    versions = [
        answered(question, "s/1", "same", lead_time_s=time) for question, time in zip(asked, times, strict=True)
    ]
    everybody, one = paces_of(asked, versions, PARAMS)
    assert (everybody.annotator, one.annotator) == (None, "s/1")
    assert (one.low_s, one.median_s, one.high_s) == (4, 6, 8)
    assert one.mean_s == pytest.approx((2 + 4 + 6 + 8 + 120) / 5)
    assert (one.answers, one.interrupted, one.hasty) == (5, 1, 0)


def test_answers_too_fast_to_have_looked_are_named() -> None:
    asked = [pair(number) for number in range(3)]
    versions = [
        answered(asked[0], "s/1", "same", lead_time_s=0.3),
        answered(asked[1], "s/1", "same", lead_time_s=0.7),
        answered(asked[2], "s/1", "same", lead_time_s=None),
    ]
    assert [version.question_id for version in hasty_answers(versions, PARAMS)] == [asked[0].question_id]


def test_effort_counts_honeypots_and_answers_without_a_time_and_gain_only_what_is_settled() -> None:
    pot = pair(1, expected=SamePersonAnswer(verdict="same"), gain=50.0)
    settled, disputed = pair(2, gain=6.0), pair(3, gain=100.0)
    versions = [
        answered(pot, "s/1", "same", lead_time_s=10.0),
        answered(settled, "s/1", "same", lead_time_s=None),  # planned: 4 s
        answered(disputed, "s/1", "same", lead_time_s=10.0),
        answered(disputed, "s/2", "different", lead_time_s=600.0),
    ]
    states = {**came_to(pot, "settled"), **came_to(settled, "settled"), **came_to(disputed, "disputed")}
    effort = effort_of([pot, settled, disputed], versions, states, PARAMS, identities=12)
    assert (effort.answers, effort.settled, effort.gain) == (4, 1, 6)
    assert effort.minutes == pytest.approx((10 + 4 + 10 + 120) / 60)
    assert effort.gain_per_answer == pytest.approx(1.5)
    assert effort.gain_per_minute == pytest.approx(6 / effort.minutes)
    assert effort.minutes_per_1000_identities == pytest.approx(effort.minutes / 12 * 1000)


def test_without_answers_there_is_nothing_to_divide_by() -> None:
    effort = effort_of([pair(1)], [], {}, PARAMS, identities=0)
    assert (effort.answers, effort.minutes, effort.gain_per_answer, effort.minutes_per_1000_identities) == (
        0, 0, None, None,
    )  # fmt: skip
    assert paces_of([pair(1)], [], PARAMS) == []


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=20))
def test_quartiles_are_in_order_and_below_the_cap(times: list[float]) -> None:
    asked = [pair(number) for number in range(len(times))]
    versions = [
        answered(question, "s/1", "same", lead_time_s=time) for question, time in zip(asked, times, strict=True)
    ]
    pace = paces_of(asked, versions, PARAMS)[0]
    assert 0 <= pace.low_s <= pace.median_s <= pace.high_s <= PARAMS.longest_s
    assert pace == paces_of(asked[::-1], versions[::-1], PARAMS)[0]


def test_a_hasty_limit_above_the_cap_is_refused() -> None:
    with pytest.raises(ConfigError, match="hasty_s"):
        PaceParams(longest_s=5.0, hasty_s=6.0)

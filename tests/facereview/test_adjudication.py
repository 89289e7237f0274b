"""The queue of those who decide."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from facereview.answers.consensus import Trust
from facereview.kinds import SamePersonAnswer
from facereview.quality.adjudication import queue_of

from .answered import NOON, answered, came_to, pair

TRUST = Trust(certainty=0.9, error_rate=0.03, error_rates={"s/careless": 0.2})


def test_worth_and_waiting_count_together_and_everybodys_word_is_shown() -> None:
    rich, old, settled = pair(1, gain=10.0), pair(2, gain=4.0), pair(3, gain=99.0)
    pot = pair(4, gain=99.0, expected=SamePersonAnswer(verdict="same"))
    versions = [
        answered(rich, "s/careless", "same"),
        answered(rich, "s/new", "different", minute=5),
        answered(old, "s/new", "same", minute=-6 * 24 * 60),
        answered(settled, "s/new", "same"),
        answered(pot, "s/new", "same"),
    ]
    states = {**came_to(rich, "disputed"), **came_to(old, "unsettled"), **came_to(settled, "settled")}
    states |= came_to(pot, "disputed")
    first, second = queue_of([rich, old, settled, pot], states, versions, trust=TRUST, at=NOON + timedelta(minutes=5))
    assert (first.question, second.question) == (old, rich)  # 4 pairs for a week before 10 since today
    assert [one.annotator for one in second.testimonies] == ["s/new", "s/careless"]
    assert second.testimonies[0].weight > second.testimonies[1].weight
    assert second.waits_since == NOON + timedelta(minutes=5)
    assert second.urgency == 10.0


def test_a_dispute_whose_answers_were_all_deleted_is_none() -> None:
    asked = pair(1)
    deleted = answered(asked, "s/1", "same", state="deleted")
    assert queue_of([asked], came_to(asked, "disputed"), [deleted], trust=TRUST, at=NOON) == []


@given(st.permutations(range(4)))
def test_the_queue_does_not_depend_on_the_order_of_anything(order: list[int]) -> None:
    asked = [pair(number, gain=5.0) for number in range(4)]
    versions = [answered(question, f"s/{n}", "same") for question in asked for n in (1, 2)]
    states = {key: state for question in asked for key, state in came_to(question, "disputed").items()}
    expected = queue_of(asked, states, versions, trust=TRUST, at=NOON)
    assert queue_of([asked[place] for place in order], states, versions[::-1], trust=TRUST, at=NOON) == expected

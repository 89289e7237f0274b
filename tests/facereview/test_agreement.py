"""Agreement: against published figures and a library, and small worlds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from facereview.quality.agreement import agreements_of, alpha, wilson
from facereview.quality.topics import topics_of

from .answered import answered, pair

# Krippendorff 2011, section C: 4 observers, 12 units, "." is missing; nominal alpha 0.743
PUBLISHED = ("11.1", "2232", "3333", "3333", "2222", "1234", "4444", "1121", "2222", ".555", "..11", "..3.")


def test_alpha_is_that_of_the_published_example() -> None:
    units = [[word for word in unit if word != "."] for unit in PUBLISHED]
    assert alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_nearly_cohens_kappa_for_two_who_answer_everything_with_the_same_shares() -> None:
    first = ["same"] * 500 + ["different"] * 500
    second = ["same"] * 450 + ["different"] * 50 + ["same"] * 50 + ["different"] * 450
    kappa = float(cohen_kappa_score(first, second))
    assert alpha(list(zip(first, second, strict=True))) == pytest.approx(kappa, abs=1e-3)


def test_alpha_is_not_defined_where_everybody_says_one_word() -> None:
    assert alpha([["same", "same"], ["same", "same"]]) is None
    assert alpha([["same"], ["different"]]) is None


@given(st.lists(st.lists(st.sampled_from("ab"), max_size=4), max_size=8))
def test_alpha_is_one_exactly_when_nobody_disagrees(units: list[list[str]]) -> None:
    found = alpha(units)
    compared = [unit for unit in units if len(unit) > 1]
    if found is None:
        assert len({word for unit in compared for word in unit}) < 2
    else:
        assert (found == pytest.approx(1)) == all(len(set(unit)) == 1 for unit in compared)


def test_wilson_is_the_interval_of_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


@given(st.integers(0, 50), st.integers(1, 50))
def test_wilson_holds_the_share(hits: int, more: int) -> None:
    low, high = wilson(hits, hits + more)
    assert 0 <= low <= hits / (hits + more) <= high <= 1


def test_pairs_of_three_are_compared_and_questions_with_one_answer_are_not() -> None:
    asked = [pair(1, needs=2), pair(2, needs=2), pair(3)]
    versions = [
        *(answered(asked[0], f"s/{n}", "same") for n in (1, 2)),
        answered(asked[1], "s/1", "same"),
        answered(asked[1], "s/2", "same"),
        answered(asked[1], "s/3", "different"),
        answered(asked[2], "s/1", "different"),
    ]
    overall, pairs = agreements_of(topics_of(asked, versions))
    assert (overall.kind, pairs.kind) == (None, "same_person")
    assert (overall.questions, overall.pairs) == (2, 3)
    assert overall.share == pytest.approx((1 + 2 / 3) / 3)  # all of one pair; a third of three, which weigh as two
    assert overall.low < overall.share < overall.high


def test_nothing_is_said_where_nobody_shared_a_question() -> None:
    asked = pair(1)
    assert agreements_of(topics_of([asked], [answered(asked, "s/1", "same")])) == []

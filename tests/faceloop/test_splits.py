from hypothesis import given
from hypothesis import strategies as st

from faceloop.release.splits import balance, shuffled, split_of


@given(st.text(min_size=1), st.integers(), st.floats(0, 0.4), st.floats(0, 0.4))
def test_an_identity_has_one_split_whatever_else_is_in_the_release(
    name: str, seed: int, val_share: float, test_share: float
) -> None:
    first = split_of(name, seed=seed, val_share=val_share, test_share=test_share)
    assert first == split_of(name, seed=seed, val_share=val_share, test_share=test_share)
    if val_share == test_share == 0:
        assert first == "train"


def test_shares_hold_over_many_identities() -> None:
    splits = [split_of(f"person-{number}", seed=1, val_share=0.15, test_share=0.2) for number in range(5000)]
    assert abs(splits.count("val") / 5000 - 0.15) < 0.02
    assert abs(splits.count("test") / 5000 - 0.2) < 0.02


def test_a_larger_test_share_only_adds_identities_to_test() -> None:
    names = [f"person-{number}" for number in range(500)]
    small = {name for name in names if split_of(name, seed=1, val_share=0, test_share=0.1) == "test"}
    large = {name for name in names if split_of(name, seed=1, val_share=0, test_share=0.3) == "test"}
    assert small < large


def test_the_balance_rule_names_the_identity_that_breaks_it() -> None:
    found = balance({"a": 2, "b": 2, "c": 7}, ratio_rule=3.0)
    assert (found.samples, found.median, found.largest, found.over) == (11, 2.0, 7, ("c",))
    assert not found.is_balanced
    assert balance({"a": 2, "b": 2, "c": 6}, ratio_rule=3.0).is_balanced
    assert balance({}, ratio_rule=3.0).samples == 0


@given(st.lists(st.text(min_size=1), unique=True), st.integers())
def test_the_order_of_samples_does_not_depend_on_the_order_given(names: list[str], seed: int) -> None:
    assert shuffled(names, seed) == shuffled(list(reversed(names)), seed)
    assert sorted(shuffled(names, seed)) == sorted(names)

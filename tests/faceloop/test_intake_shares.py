"""Shares hold everything once, weigh nearly the same, and do not depend on the order of a listing."""

import random

from hypothesis import given
from hypothesis import strategies as st

from faceloop.intake.settling import Pace, Settled, settle
from faceloop.intake.shares import share_out
from facestore.sources import Location

weights = st.lists(st.floats(0, 1e12) | st.integers(0, 3).map(float), max_size=60)


def _named(sizes: list[float]) -> list[tuple[str, float, tuple[str, float]]]:
    return [(f"clip {number}", size, (f"clip {number}", size)) for number, size in enumerate(sizes)]


@given(weights, st.integers(1, 24))
def test_shares_partition_the_items(sizes: list[float], count: int) -> None:
    shares = share_out(_named(sizes), count)
    assert sorted(item for share in shares for item in share) == sorted(item for *_, item in _named(sizes))
    assert len(shares) == min(count, len(sizes))
    assert all(shares)


@given(weights.filter(bool), st.integers(1, 24))
def test_no_share_weighs_more_than_four_thirds_of_the_mean_and_the_largest_item(sizes: list[float], count: int) -> None:
    loads = [sum(size for _, size in share) for share in share_out(_named(sizes), count)]
    mean = sum(sizes) / len(loads)
    assert max(loads) <= 4 / 3 * mean + max(sizes) + 1e-3
    assert max(loads) <= (mean + max(sizes)) * (1 + 1e-9)  # the sharper bound of any list scheduling


@given(weights, st.integers(1, 24), st.randoms(use_true_random=False))
def test_the_order_of_a_listing_does_not_matter(sizes: list[float], count: int, chance: random.Random) -> None:
    listed = _named(sizes)
    shuffled = list(listed)
    chance.shuffle(shuffled)
    assert share_out(shuffled, count) == share_out(listed, count)


def test_files_without_bytes_are_spread_too() -> None:
    assert [len(share) for share in share_out(_named([0.0] * 9), 3)] == [3, 3, 3]


class World:
    """A source that shows one listing after another, and a clock that only sleep moves."""

    def __init__(self, *listings: str) -> None:
        self.listings = [list(map(_at, listing.split())) for listing in listings]
        self.now_s = 0.0

    def settle(self, *, quiet_s: float = 5.0, at_most_s: float = 60.0) -> Settled:
        shown = iter([*self.listings[1:], *[self.listings[-1]] * 99])
        pace = Pace(quiet_s=quiet_s, at_most_s=at_most_s, sleep=self._sleep, clock=lambda: self.now_s)
        return settle(self.listings[0], lambda: next(shown), pace)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds


def _at(text: str) -> Location:
    path, _, size = text.partition(":")
    return Location(path=path, size_bytes=int(size), version=size)


def test_a_quiet_source_is_waited_for_once() -> None:
    world = World("a:1 b:2", "a:1 b:2")
    settled = world.settle()
    assert [at.path for at in settled.locations] == ["a", "b"]
    assert (settled.arriving, world.now_s) == (0, 5.0)


def test_a_file_that_grows_is_waited_for() -> None:
    world = World("a:1", "a:2", "a:2 b:1", "a:2 b:1")
    settled = world.settle()
    assert [(at.path, at.size_bytes) for at in settled.locations] == [("a", 2), ("b", 1)]
    assert world.now_s == 15.0


def test_what_still_changes_when_the_time_is_over_is_left_out_and_counted() -> None:
    world = World(*(f"a:1 b:{size} c:3" if size > 1 else f"a:1 b:{size} gone:1" for size in range(1, 40)))
    settled = world.settle(at_most_s=20.0)
    assert [at.path for at in settled.locations] == ["a", "c"]
    assert (settled.arriving, world.now_s) == (1, 20.0)


def test_without_a_time_to_wait_nothing_is_waited_for() -> None:
    world = World("a:1", "a:2")
    assert world.settle(quiet_s=0.0) == Settled(locations=world.listings[0], arriving=0)
    assert world.now_s == 0.0

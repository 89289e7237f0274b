"""Pictures read ahead: the same order, a bounded lead, and errors where they belong."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.footage.ahead import read_ahead
from facestore.errors import MediaError


@given(items=st.lists(st.none() | st.integers()), depth=st.integers(min_value=1, max_value=5))
def test_items_come_out_once_each_and_in_order_whatever_they_are(items: list[int | None], depth: int) -> None:
    assert list(read_ahead(items, depth=depth)) == items


def test_an_error_is_raised_at_its_place_after_the_items_before_it() -> None:
    def breaks_after_two() -> Iterator[int]:
        yield 1
        yield 2
        raise MediaError("corrupt_media", "the third picture is broken")

    seen = []
    with pytest.raises(MediaError, match="the third picture is broken"):
        for item in read_ahead(breaks_after_two(), depth=4):
            seen.append(item)  # noqa: PERF402  # what came before the error is the point
    assert seen == [1, 2]


def test_never_more_items_are_made_ahead_than_the_depth() -> None:
    made = 0

    def count() -> Iterator[int]:
        nonlocal made
        for number in range(20):
            made += 1
            yield number

    for taken, _ in enumerate(read_ahead(count(), depth=3), start=1):
        assert made <= taken + 3


def test_the_next_item_is_made_while_the_one_before_is_still_looked_at() -> None:
    is_second_made = threading.Event()

    def two() -> Iterator[int]:
        yield 1
        is_second_made.set()
        yield 2

    reading = read_ahead(two(), depth=1)
    assert next(reading) == 1
    assert is_second_made.wait(timeout=10)
    assert list(reading) == [2]


def test_stopping_early_ends_the_thread_and_leaves_the_source_to_its_owner() -> None:
    source = iter(range(1000))
    reading = read_ahead(source, depth=3)
    assert next(reading) == 0
    reading.close()  # type: ignore[attr-defined]  # a generator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
    assert next(source) <= 5

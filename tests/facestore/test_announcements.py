"""Announcements: news is told once, and again only by the run that was to tell it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore.announcements import Announcements

from .emptying import emptied


@pytest.fixture
def log(url: str) -> Iterator[Announcements]:
    opened = Announcements(url)
    emptied(url, "announcement")
    yield opened
    opened.close()


def test_the_first_content_and_every_other_one_is_news(log: Announcements) -> None:
    assert log.announce("faces", "one", run_id="a")
    assert not log.announce("faces", "one", run_id="b")
    assert log.announce("faces", "two", run_id="b")
    assert log.announce("faces", "one", run_id="c")
    last = log.last("faces")
    assert last is not None
    assert (last.digest, last.run_id) == ("one", "c")


def test_a_run_that_was_killed_after_recording_tells_it_when_it_is_tried_again(log: Announcements) -> None:
    assert log.announce("faces", "one", run_id="a")
    first = log.last("faces")
    assert log.announce("faces", "one", run_id="a")
    assert log.last("faces") == first  # recorded once
    assert not log.announce("faces", "one", run_id="b")
    assert log.announce("faces", "one", run_id="a")


def test_a_run_that_had_nothing_to_tell_has_still_nothing(log: Announcements) -> None:
    log.announce("faces", "one", run_id="a")
    assert [log.announce("faces", "one", run_id="b") for _ in range(3)] == [False] * 3


def test_content_that_went_back_is_news_also_for_the_run_that_told_of_the_other(log: Announcements) -> None:
    log.announce("labels", "one", run_id="a")
    assert log.announce("labels", "two", run_id="b")
    assert log.announce("labels", "one", run_id="b")


def test_each_thing_has_announcements_of_its_own(log: Announcements) -> None:
    assert log.announce("faces", "one", run_id="a")
    assert log.announce("labels", "one", run_id="b")
    assert log.last("release") is None


def _announce(url: str, run_id: str) -> bool:
    log = Announcements(url)
    try:
        return log.announce("faces", "one", run_id=run_id)
    finally:
        log.close()


def test_of_several_runs_at_once_one_tells_it(url: str) -> None:
    Announcements(url).close()
    emptied(url, "announcement")
    with ThreadPoolExecutor(8) as threads:
        told = threads.map(lambda number: _announce(url, f"run {number}"), range(8))
    assert sum(told) == 1


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["one", "two"]))))
def test_whoever_listens_knows_the_last_content_that_was_asked_about(asked: list[tuple[str, str]]) -> None:
    log = Announcements("sqlite://")
    try:
        heard = None
        for run_id, digest in asked:
            if log.announce("faces", digest, run_id=run_id):
                heard = digest
            assert heard == digest
    finally:
        log.close()

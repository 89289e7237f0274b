"""Promotions: the table only grows, and the current release is the newest that was not taken back."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from facestore.errors import StageError
from facestore.promotions import PromotionRequest, Promotions, Stock

STOCK = Stock(faces=10, decisions=2, labels_digest="l")


def _request(release: str) -> PromotionRequest:
    return PromotionRequest(
        release=release,
        by="ann",
        job_id=None,
        parameter_set="default",
        revision=None,
        figures={"samples": 3},
        stock=STOCK,
    )


def _fresh(url: str) -> Promotions:
    """PostgreSQL's database is shared by the tests: what another one promoted is taken back."""
    promotions = Promotions(url)
    while promotions.current() is not None:
        promotions.roll_back(by="test", why="fresh", release=None)
    return promotions


def test_a_promoted_release_is_current_until_it_is_rolled_back(url: str) -> None:
    promotions = _fresh(url)
    first = promotions.promote(_request("r1"))
    promotions.promote(_request("r2"))
    now = promotions.current()
    assert now is not None
    assert (now.release, now.by, now.figures) == ("r2", "ann", {"samples": 3})
    taken = promotions.roll_back(by="bob", why="wrong labels", release="r2")
    assert (taken.turn, taken.release, taken.by, taken.why) == ("rolled_back", "r2", "bob", "wrong labels")
    assert promotions.current() == first
    assert promotions.roll_back(by="bob", why="again", release="r2") == taken  # a retry finds it done
    with pytest.raises(StageError, match="not the current one"):
        promotions.roll_back(by="bob", why="typing error", release="r3")
    promotions.roll_back(by="bob", why="this one too", release=None)
    assert promotions.current() is None
    with pytest.raises(StageError, match="nothing to roll back"):
        promotions.roll_back(by="bob", why="and more", release=None)
    promotions.close()


def test_promoting_the_current_release_again_writes_nothing(url: str) -> None:
    promotions = _fresh(url)
    first = promotions.promote(_request("r1"))
    rows = len(promotions.all())
    assert promotions.promote(replace(_request("r1"), by="another")) == first
    assert len(promotions.all()) == rows
    promotions.close()


@pytest.mark.parametrize("table", ["promotion", "due_mark"])
def test_the_database_itself_refuses_to_change_what_was_said(url: str, table: str) -> None:
    promotions = _fresh(url)
    promotions.promote(_request("r9"))
    promotions.mark(f"run of {table}", STOCK, {"due": True})
    engine = create_engine(url)
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET faces = 0"):  # noqa: S608  # our own names
        with engine.connect() as connection, pytest.raises(Exception, match="append-only"):
            connection.execute(text(statement))
    engine.dispose()
    promotions.close()


def test_a_run_that_asks_again_is_told_what_it_was_told(url: str) -> None:
    promotions = _fresh(url)
    first = promotions.mark("dag/run-1", STOCK, {"due": True, "faces": 10})
    assert promotions.mark("dag/run-1", replace(STOCK, faces=99), {"due": True, "faces": 99}) == first
    assert promotions.marked("dag/run-1") == first
    assert promotions.marked("dag/run-2") is None
    assert promotions.last_mark() == first
    promoted = promotions.promote(_request("r1"))
    last = promotions.last_mark()
    assert last is not None
    assert (last.at, last.stock, last.answer) == (promoted.at, STOCK, None)
    promotions.close()


@settings(max_examples=30)
@given(turns=st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12))
def test_current_is_what_a_stack_would_say(turns: list[int | None]) -> None:
    promotions, stack = Promotions("sqlite://"), [""]
    for turn in turns:
        if turn is not None:
            promotions.promote(_request(str(turn)))
            stack += [str(turn)] if stack[-1] != str(turn) else []
        elif len(stack) > 1:
            promotions.roll_back(by="b", why="w", release=None)
            stack.pop()
        now = promotions.current()
        assert (now.release if now else "") == stack[-1]
    promotions.close()


def test_a_new_database_has_no_current_release(tmp_path: Path) -> None:
    promotions = Promotions(f"sqlite:///{tmp_path / 'l.sqlite3'}")
    assert promotions.current() is None
    assert promotions.last_mark() is None
    assert promotions.all() == []
    promotions.close()

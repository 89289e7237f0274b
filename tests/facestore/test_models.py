"""Models: registered once, promoted and taken back in rows that only grow."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DatabaseError

from facestore.errors import StageError
from facestore.models import Model, Models


def _model(model_id: str) -> Model:
    return Model(
        model_id=model_id,
        release="r1",
        contract_id="c1",
        folder=f"models/{model_id}",
        revision=None,
        params={"seed": 1},
    )


def _fresh(url: str, *model_ids: str) -> Models:
    """PostgreSQL's database is shared by the tests: what another one promoted is taken back."""
    models = Models(url)
    while models.current() is not None:
        models.roll_back(by="test", why="fresh", model_id=None)
    for model_id in model_ids:
        models.register(_model(model_id))
    return models


def test_a_promoted_model_is_used_until_it_is_rolled_back(url: str) -> None:
    models = _fresh(url, "m1", "m2")
    first = models.promote("m1", by="ann", evaluation="e1", figures=[])
    models.promote("m2", by="ann", evaluation="e2", figures=[{"tar": 0.9}])
    now = models.current()
    assert now is not None
    assert (now.model_id, now.by, now.evaluation, now.figures) == ("m2", "ann", "e2", [{"tar": 0.9}])
    taken = models.roll_back(by="bob", why="worse at night", model_id="m2")
    assert (taken.turn, taken.model_id, taken.by, taken.why) == ("rolled_back", "m2", "bob", "worse at night")
    assert models.current() == first
    assert models.roll_back(by="bob", why="again", model_id="m2") == taken  # a retry finds it done
    with pytest.raises(StageError, match="not the promoted one"):
        models.roll_back(by="bob", why="typing error", model_id="m3")
    models.roll_back(by="bob", why="this one too", model_id=None)
    assert models.current() is None
    with pytest.raises(StageError, match="nothing to roll back"):
        models.roll_back(by="bob", why="and more", model_id=None)
    models.close()


def test_promoting_the_used_model_again_writes_nothing(url: str) -> None:
    models = _fresh(url, "m1")
    first = models.promote("m1", by="ann", evaluation="e1", figures=[])
    rows = len(models.turns())
    assert models.promote("m1", by="bob", evaluation="e2", figures=[]) == first
    assert len(models.turns()) == rows
    models.close()


def test_a_model_that_was_never_registered_is_not_promoted(url: str) -> None:
    models = _fresh(url)
    with pytest.raises(StageError, match="never registered"):
        models.promote("unheard", by="ann", evaluation="e", figures=[])
    with pytest.raises(StageError, match="never registered"):
        models.find("unheard")
    models.close()


def test_a_model_is_registered_once_and_what_was_said_first_stands(url: str) -> None:
    models = _fresh(url, "once")
    models.register(Model(model_id="once", release="r9", contract_id="c9", folder="x", revision="f" * 40, params=None))
    assert models.find("once") == _model("once")
    assert [model.model_id for model, _ in models.all()].count("once") == 1
    models.close()


@pytest.mark.parametrize("table", ["model", "model_turn"])
def test_the_database_refuses_to_change_or_remove_rows(sqlite_url: str, table: str) -> None:
    models = _fresh(sqlite_url, "m1")
    models.promote("m1", by="ann", evaluation="e", figures=[])
    models.close()
    engine = create_engine(sqlite_url)
    for statement in (f"UPDATE {table} SET model_id = 'x'", f"DELETE FROM {table}"):  # noqa: S608  # names of ours
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as session:
            session.execute(text(statement))
    engine.dispose()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(["a", "b", "c"]), st.none()), max_size=12))
def test_the_used_model_is_the_top_of_the_stack(steps: list[str | None]) -> None:
    """Promotions push, roll-backs pop; promoting what is on top pushes nothing."""
    models = Models("sqlite://")
    for name in "abc":
        models.register(_model(name))
    stack: list[str] = []
    for step in steps:
        if step is not None:
            models.promote(step, by="ann", evaluation="e", figures=[])
            stack += [step] if stack[-1:] != [step] else []
        elif stack:
            models.roll_back(by="ann", why="w", model_id=None)
            stack.pop()
        now = models.current()
        assert (now.model_id if now is not None else None) == (stack[-1] if stack else None)
    models.close()

"""Measurements and profiles, on SQLite and on PostgreSQL: taken together, found together, never changed."""

from collections.abc import Iterator
from itertools import count

import pytest
from sqlalchemy import text

from facestore.catalogue import open_catalogue, writing
from facestore.errors import StoreError
from facestore.measurements import Measurement, Measurements, Profile

_scopes = count()


@pytest.fixture
def log(url: str) -> Iterator[Measurements]:
    opened = Measurements(url)
    yield opened
    opened.close()


def figures(*values: float) -> list[Measurement]:
    return [Measurement(name="labels", labels=(("state", f"s{n}"),), value=value) for n, value in enumerate(values)]


def profile(name: str, contract: str, faces: int = 5) -> Profile:
    return Profile(
        profile_id=name,
        contract_id=contract,
        faces=faces,
        quality_shares=(0.25, 0.75),
        mean=(0.6, 0.8),
        distance_99=0.3,
    )


def test_the_latest_measuring_is_all_that_was_taken_together_and_no_more(log: Measurements) -> None:
    log.record("measure", figures(1, 2, 3), run_id="a")
    taken = log.record("measure", figures(4, 5), run_id="b")
    log.record("check", figures(9), run_id="b")
    assert log.latest("measure") == taken
    latest = log.latest("check")
    assert latest is not None
    assert [one.value for one in latest.figures] == [9]


def test_the_one_before_is_of_another_run_and_older(log: Measurements) -> None:
    scope = f"run {next(_scopes)}"
    first = log.record("measure", figures(1), run_id=f"{scope} a")
    log.record("measure", figures(2), run_id=f"{scope} b")
    log.record("check", figures(7), run_id=f"{scope} z")
    again = log.record("measure", figures(3), run_id=f"{scope} b")
    assert log.of_run("measure", f"{scope} b") == again
    assert log.before("measure", again) == first
    assert log.of_run("check", f"{scope} b") is None


def test_measuring_nothing_leaves_the_last_figures(log: Measurements) -> None:
    taken = log.record("measure", figures(1), run_id=None)
    log.record("measure", [], run_id=None)
    assert log.latest("measure") == taken


def test_a_profile_is_kept_as_it_was_first_written(log: Measurements) -> None:
    contract = f"contract {next(_scopes)}"
    first, second = profile(f"{contract} 1", contract), profile(f"{contract} 2", contract)
    log.keep(profile(f"{contract} 0", contract, faces=0))
    for one in (first, second, profile(f"{contract} 1", contract, faces=99)):
        log.keep(one)
    assert log.profile(f"{contract} 1") == first
    assert log.first_profile(contract) == first
    assert log.first_profile("no such contract") is None
    assert log.profile("no such profile") is None


def test_a_row_cannot_be_changed_or_removed(log: Measurements, url: str) -> None:
    log.record("measure", figures(1), run_id=None)
    log.keep(profile("kept", "kept"))
    engine = open_catalogue(url, "measurements")
    for statement in ("UPDATE measurement SET value = 0", "DELETE FROM measurement", "DELETE FROM profile"):
        with pytest.raises(StoreError, match="append-only"), writing(engine, "change it") as session:
            session.execute(text(statement))
    engine.dispose()

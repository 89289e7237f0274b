"""Copies of whole catalogues between databases: every row, every value, or nothing at all."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from facestore import rowcopies
from facestore.catalogue import connected, open_catalogue, writing
from facestore.decisionlog import DecisionLog
from facestore.errors import SchemaRefused, StoreError
from facestore.ledger import Ledger
from facestore.rowcopies import copy_catalogue, differing, existing, table_states

from .filling import fill
from .test_ledger import _run


def _filled(url: str, rows: int = 3, seed: int = 0) -> int:
    engine = open_catalogue(url, "log")
    written = fill(engine, rows, seed)
    engine.dispose()
    return written


def _states(url: str) -> tuple[rowcopies.TableState, ...]:
    engine = existing(url)
    with engine.connect() as connection:
        found = table_states(connection)
    engine.dispose()
    return found


@pytest.mark.integration
def test_sqlite_to_postgresql_and_back_is_the_same_catalogue(
    sqlite_url: str, own_postgres_url: str, tmp_path: Path
) -> None:
    written = _filled(sqlite_url, rows=7)
    back = f"sqlite:///{tmp_path / 'back.sqlite3'}"
    there = copy_catalogue(sqlite_url, own_postgres_url)
    assert sum(state.rows for state in there) == written
    assert copy_catalogue(own_postgres_url, back) == there == _states(back)


@pytest.mark.integration
def test_a_copied_catalogue_goes_on_counting_and_refuses_changes(sqlite_url: str, own_postgres_url: str) -> None:
    _filled(sqlite_url, rows=5)
    copy_catalogue(sqlite_url, own_postgres_url)
    engine = open_catalogue(own_postgres_url, "log")
    with writing(engine, "add") as session:  # by the server's own sequence
        insert = "INSERT INTO decision (decision_id, verb, annotator, decided_at) VALUES ('new', 'ignore', 'a', now())"
        session.execute(text(insert))
        assert session.execute(text("SELECT seq FROM decision WHERE decision_id = 'new'")).scalar_one() == 6
    with pytest.raises(StoreError, match="append-only"), writing(engine, "delete") as session:
        session.execute(text("DELETE FROM decision"))
    engine.dispose()


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.integers(0, 4), seed=st.integers(0, 10**6), number=st.integers(0))
def test_whatever_the_rows_a_copy_equals_them(tmp_path: Path, rows: int, seed: int, number: int) -> None:
    urls = [f"sqlite:///{tmp_path}/{rows}-{seed}-{number}-{name}.sqlite3" for name in ("from", "to")]
    for url in urls:
        Path(url.removeprefix("sqlite:///")).unlink(missing_ok=True)
    written = _filled(urls[0], rows, seed)
    copied = copy_catalogue(*urls)
    assert sum(state.rows for state in copied) == written
    assert copied == _states(urls[0]) == _states(urls[1])


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE lease SET token = token + 1 WHERE name = '00000002'",
        "UPDATE stage_run SET params = '\"other\"' WHERE run_key = '00000001'",
        "DELETE FROM review_hint WHERE hint_id = 3",
        "INSERT INTO finding (place, state, body) VALUES ('p', 's', '{}')",
    ],
)
def test_any_other_row_gives_its_table_another_digest(sqlite_url: str, change: str) -> None:
    _filled(sqlite_url)
    before = _states(sqlite_url)
    engine = connected(sqlite_url, "log")
    with writing(engine, "change") as session:
        session.execute(text(change))
    engine.dispose()
    changed = next(word for word in change.split() if word in {state.name for state in before})
    assert list(differing(before, _states(sqlite_url))) == [changed]


def test_a_copy_that_loses_a_row_is_found_out_and_undone(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant of the comparison: a mover that drops the last row of each block."""
    _filled(sqlite_url)
    target = f"sqlite:///{tmp_path / 'lossy.sqlite3'}"
    monkeypatch.setattr(rowcopies, "islice", lambda rows, limit: [*rows][:-1])
    with pytest.raises(StoreError, match="table activity should hold 3 rows and holds 2"):
        copy_catalogue(sqlite_url, target)
    assert sum(state.rows for state in _states(target)) == 0


def test_nothing_is_copied_over_rows(sqlite_url: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'used.sqlite3'}"
    _filled(sqlite_url)
    ledger = Ledger(target)
    ledger.record(_run("mine"))
    ledger.close()
    before = _states(target)
    with pytest.raises(StoreError, match="holds rows already"):
        copy_catalogue(sqlite_url, target)
    assert _states(target) == before


def test_a_catalogue_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no catalogue"):
        copy_catalogue(f"sqlite:///{tmp_path}/none.sqlite3", f"sqlite:///{tmp_path}/to.sqlite3")
    assert list(tmp_path.iterdir()) == []


def test_a_catalogue_of_another_revision_is_not_copied(sqlite_url: str, tmp_path: Path) -> None:
    DecisionLog(sqlite_url).close()
    engine = connected(sqlite_url, "log")
    with writing(engine, "pretend") as session:
        session.execute(text("UPDATE faceloop_revision SET version_num = '0000'"))
    engine.dispose()
    with pytest.raises(SchemaRefused, match="at revision 0000"):
        copy_catalogue(sqlite_url, f"sqlite:///{tmp_path}/to.sqlite3")

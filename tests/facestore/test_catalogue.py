"""The catalogue: tables made once, writers in turn, rows that the database itself refuses to change."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from facestore.catalogue import Tables, connected, in_transaction, open_catalogue, writing
from facestore.decisionlog import DecisionLog, insert_decisions
from facestore.decisions import IdentityEvent, Review, decide, identity_event
from facestore.errors import DataError, StoreError
from facestore.identitylog import IdentityLog
from facestore.ledger import Ledger
from facestore.schema import REVISION_TABLE

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LOGS = ("decision", "identity_event", "review")


def _fill(url: str) -> None:
    decisions, identities = DecisionLog(url), IdentityLog(url)
    decisions.append([decide("ignore", face_id="f1", annotator="ann", decided_at=NOON)])
    event: IdentityEvent = identity_event("rename", identity_id="person-1", name="A", annotator="ann", happened_at=NOON)
    identities.append([event])
    review = Review(
        face_id="f1", identity_id="person-1", confidence=0.5, run_id="r", is_right=True, annotator="a", reviewed_at=NOON
    )
    identities.append_reviews([review])
    decisions.close()
    identities.close()


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.integration)])
def filled(request: pytest.FixtureRequest) -> Iterator[Engine]:
    url = str(request.getfixturevalue(request.param))
    _fill(url)
    engine = open_catalogue(url, "log")
    yield engine
    engine.dispose()


def test_a_new_sqlite_file_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite does not wait where two set the journal mode at once: one new file in ten was "locked"."""
    failures: list[Exception] = []

    def open_and_close(url: str, start: threading.Barrier) -> None:
        start.wait()
        try:
            open_catalogue(url, "log").dispose()
        except Exception as error:  # a thread's error must reach the test
            failures.append(error)

    for number in range(60):
        start = threading.Barrier(8)
        url = f"sqlite:///{tmp_path}/{number}.sqlite3"
        threads = [threading.Thread(target=open_and_close, args=(url, start)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("table", LOGS)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {table} SET annotator = 'eve'",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "TRUNCATE TABLE {table}",
    ],
)
def test_the_database_refuses_to_change_what_was_logged(filled: Engine, table: str, change: str) -> None:
    only_for = {"INSERT OR REPLACE": "sqlite", "TRUNCATE": "postgresql"}
    if any(change.startswith(word) and filled.dialect.name != name for word, name in only_for.items()):
        return
    with pytest.raises(DatabaseError, match=f"{table} is append-only"), filled.begin() as connection:
        connection.execute(text(change.format(table=table)))
    with filled.connect() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 1  # noqa: S608  # our names


def test_who_opens_a_new_catalogue_makes_all_of_it(sqlite_url: str) -> None:
    program = f"from facestore.ledger import Ledger; Ledger({sqlite_url!r}).close()"  # has declared no other table
    subprocess.run([sys.executable, "-c", program], check=True)
    assert _tables(sqlite_url) >= {"stage_run", *LOGS, REVISION_TABLE}
    _fill(sqlite_url)


def _tables(url: str) -> set[str]:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return {name for (name,) in connection.execute(tables)}


def test_many_processes_may_open_a_new_catalogue_at_once(sqlite_url: str) -> None:
    program = f"from facestore.identitylog import IdentityLog; IdentityLog({sqlite_url!r}).close()"
    openers = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    said = [opener.communicate()[1].decode() for opener in openers]
    assert [(opener.returncode, words) for opener, words in zip(openers, said, strict=True)] == [(0, "")] * 3
    assert _tables(sqlite_url) >= set(LOGS)


def test_after_an_error_nothing_of_a_transaction_is_kept(sqlite_url: str) -> None:
    engine = open_catalogue(sqlite_url, "log")
    insert = text("INSERT INTO decision (decision_id, verb, annotator, decided_at) VALUES ('d', 'ignore', 'a', :at)")
    with pytest.raises(DataError), writing(engine, "write") as session:
        session.execute(insert, {"at": "2026-05-01 12:00:00.000000"})
        raise DataError("second thoughts")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM decision")).scalar_one() == 0
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_catalogue_may_live_in_memory(url: str) -> None:
    engine = open_catalogue(url, "log")
    assert set(inspect(engine).get_table_names()) >= {*Tables.metadata.tables, REVISION_TABLE}
    engine.dispose()


def _locks_the_decisions_and_waits_for_our_turn(url: str, is_locked: threading.Event, failures: list[str]) -> None:
    """Somebody else's session, which is patient: of the two in the deadlock the server throws ours out."""
    engine = connected(url, "log")
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            connection.execute(text("LOCK TABLE decision IN ACCESS EXCLUSIVE MODE"))
            is_locked.set()
            connection.execute(text("SELECT pg_advisory_xact_lock(4207808523)"))
    except Exception as error:  # a thread's error must reach the test
        failures.append(str(error))
    finally:
        engine.dispose()


@pytest.mark.integration
@pytest.mark.parametrize("is_retried", [True, False])
def test_a_transaction_that_the_server_throws_out_is_run_again_whole(
    postgres_url: str, is_retried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the retry (the mutant) the same deadlock reaches the caller."""
    if not is_retried:
        monkeypatch.setattr("facestore.catalogue._ATTEMPTS", 1)
    log, is_locked, failures = DecisionLog(postgres_url), threading.Event(), list[str]()
    said = decide("ignore", face_id=f"deadlock {is_retried}", annotator="ann", decided_at=NOON)
    engine = connected(postgres_url, "log")
    other = threading.Thread(
        target=_locks_the_decisions_and_waits_for_our_turn, args=(postgres_url, is_locked, failures)
    )

    def write(session: Session) -> int:
        if not other.ident:  # once: our turn is taken by now, so the two wait for one another
            other.start()
            assert is_locked.wait(60)
        return insert_decisions(session, [said])

    if is_retried:
        assert in_transaction(engine, "append", write) == 1
    else:
        with pytest.raises(StoreError, match="deadlock"):
            in_transaction(engine, "append", write)
    other.join()
    assert failures == []
    assert (log.find(said.decision_id) == said) is is_retried
    log.close()
    engine.dispose()


@pytest.mark.integration
def test_a_log_goes_on_after_the_server_ended_its_sessions(postgres_url: str) -> None:
    log, admin = DecisionLog(postgres_url), connected(postgres_url, "log")
    said = [decide("ignore", face_id=f"ended {n}", annotator="ann", decided_at=NOON) for n in range(2)]
    assert log.append(said[:1]) == 1
    with admin.begin() as connection:
        ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        assert connection.execute(text(f"{ended} AND backend_type = 'client backend'")).scalar_one() >= 1
    assert log.append(said) == 1
    log.close()
    admin.dispose()


def test_the_error_says_which_log_could_not_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, but it is long enough to be taken for one " * 30)
    for opened, name in ((Ledger, "ledger"), (DecisionLog, "decision log"), (IdentityLog, "identity log")):
        with pytest.raises(StoreError, match=f"cannot open the {name}"):
            opened(f"sqlite:///{tmp_path / 'text'}")


@pytest.mark.integration
@pytest.mark.parametrize("place", ["sqlite", "postgresql"])
def test_an_error_of_the_database_tells_no_value_of_a_row(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/c.sqlite3" if place == "sqlite" else request.getfixturevalue("postgres_url")
    engine = connected(url, "catalogue")
    insert = text("INSERT INTO named VALUES (:name, NULL)")
    with pytest.raises(StoreError, match="cannot name somebody") as caught, writing(engine, "name somebody") as session:
        session.execute(text("CREATE TABLE named (name TEXT, needed TEXT NOT NULL)"))
        session.execute(insert, {"name": "Annabel Featherstone"})
    assert "Annabel" not in str(caught.value)
    engine.dispose()

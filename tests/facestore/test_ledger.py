"""The ledger, on SQLite and on a real PostgreSQL server: the same answers from both."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from facestore.errors import StoreError
from facestore.ledger import Ledger, StageRun

NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)


def _run(run_key: str = "k1", *, stage: str = "detect", minutes: int = 0) -> StageRun:
    return StageRun(
        run_key=run_key,
        stage=stage,
        params={"min_score": 0.7, "model": {"pack": "builtin", "licence": None}},
        inputs={"footage": "a" * 64},
        outputs={"faces": "b" * 64},
        counts={"in": 3, "rejected": {"zu klein · 小": 1}},
        timings={"decode": 1.5},
        published_at=NOON + timedelta(minutes=minutes),
        wall_s=2.25,
    )


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = Ledger(url)
    yield opened
    opened.close()


def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    run = _run("round trip")
    ledger.record(run)
    assert ledger.find("round trip") == run
    assert ledger.find("never ran") is None


def test_a_time_of_another_zone_is_kept_as_the_same_moment(ledger: Ledger) -> None:
    east = timezone(timedelta(hours=8))
    run = StageRun(
        **{**{name: getattr(_run("zone"), name) for name in StageRun.__slots__}, "published_at": NOON.astimezone(east)}
    )
    ledger.record(run)
    found = ledger.find("zone")
    assert found is not None
    assert found.published_at == NOON
    assert found.published_at.utcoffset() == timedelta(0)


def test_the_first_record_of_a_key_stays(ledger: Ledger) -> None:
    ledger.record(_run("stays"))
    ledger.record(_run("stays", minutes=9))
    found = ledger.find("stays")
    assert found is not None
    assert found.published_at == NOON


def test_the_latest_run_of_a_stage_is_found(ledger: Ledger) -> None:
    for key, minutes in (("l1", 1), ("l3", 3), ("l2", 2)):
        ledger.record(_run(key, stage="embed", minutes=minutes))
    found = ledger.latest("embed")
    assert found is not None
    assert found.run_key == "l3"
    assert ledger.latest("no such stage") is None


def test_runs_outlive_the_process_that_wrote_them(ledger: Ledger, url: str) -> None:
    ledger.record(_run("outlives"))
    again = Ledger(url)
    assert again.find("outlives") == _run("outlives")
    again.close()


def test_many_writers_of_one_new_ledger_get_along(url: str) -> None:
    failures: list[Exception] = []
    start = threading.Barrier(6)

    def write(number: int) -> None:
        start.wait()
        try:
            own = Ledger(url)
            own.record(_run("everybody's"))
            own.record(_run(f"race {number}"))
            own.close()
        except Exception as error:  # a thread's error must reach the test
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    own = Ledger(url)
    assert all(own.find(f"race {number}") for number in range(6))
    own.close()


def test_a_ledger_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, but it is long enough to be taken for one " * 30)
    with pytest.raises(StoreError, match="cannot open the ledger"):
        Ledger(f"sqlite:///{tmp_path / 'text'}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hush@127.0.0.1:9/x?connect_timeout=1",
        "nosuchdb://me:hush@h/x",
        "mysql+nosuch://me:hush@h/x",
        "hush",
    ],
)
def test_a_wrong_url_is_a_store_error_that_keeps_the_password(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Ledger(url)
    assert "hush" not in str(caught.value)


def test_a_database_that_went_away_is_a_store_error_on_reading_too(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'l'}")
    ledger.close()
    for name in ("l", "l-wal", "l-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "l").mkdir()
    with pytest.raises(StoreError, match="cannot read the ledger"):
        ledger.find("k")
    with pytest.raises(StoreError, match="cannot read the ledger"):
        ledger.latest("detect")

"""Activities, on SQLite and on PostgreSQL: appended once, never changed, summed in steps or at once alike."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from facestore.activities import OUTCOMES, Activities, Activity, ActivityTotal, together
from facestore.catalogue import open_catalogue, writing
from facestore.errors import StoreError

NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
_scopes = count()


@pytest.fixture
def log(url: str) -> Iterator[Activities]:
    opened = Activities(url)
    yield opened
    opened.close()


@pytest.fixture
def run_id() -> str:
    """Of this test alone: the server's database is shared, and rows cannot be taken out of it."""
    return f"ingest_footage/run {next(_scopes)}"


def activity(run_id: str | None, **changes: object) -> Activity:
    plain = Activity(
        run_id=run_id,
        task="detect[3]",
        attempt=1,
        command="run detect",
        started_at=NOON,
        ended_at=NOON + timedelta(seconds=2.5),
        outcome="done",
        exit_code=0,
        error=None,
        state="staged",
        items=12,
        counts={"in": 13, "published": 12, "rejected": {"extreme_pose": 1}},
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_activities_come_back_by_run_and_start_as_they_were_recorded(log: Activities, run_id: str) -> None:
    late = activity(run_id, started_at=NOON + timedelta(seconds=1), task=None, error="StageError", outcome="failed")
    early = activity(run_id)
    for one in (late, early, activity(run_id + " other")):
        log.record(one, by="a")
    assert log.of_run(run_id) == [early, late]
    assert early.seconds == 2.5


def test_an_activity_recorded_twice_by_one_process_is_one_row(log: Activities, run_id: str) -> None:
    log.record(activity(run_id), by="a")
    log.record(activity(run_id), by="a")
    log.record(activity(run_id), by="b")
    assert len(log.of_run(run_id)) == 2


def test_a_row_cannot_be_changed_or_removed(url: str, run_id: str) -> None:
    with closing(Activities(url)) as log:
        log.record(activity(run_id), by="a")
    engine = open_catalogue(url, "activities")
    for statement in ("UPDATE activity SET outcome = 'done'", "DELETE FROM activity"):
        with pytest.raises(StoreError, match="append-only"), writing(engine, "change it") as session:
            session.execute(text(statement))
    engine.dispose()


def test_sums_taken_in_steps_are_the_sums_of_all(sqlite_url: str) -> None:
    with closing(Activities(sqlite_url)) as log:
        kept: tuple[ActivityTotal, ...] = ()
        seq = 0
        for number in range(7):
            changed = activity(
                None,
                command=f"run {('detect', 'embed')[number % 2]}",
                outcome=OUTCOMES[number % 3],
                state=None if number == 4 else "staged",
                ended_at=NOON + timedelta(seconds=number),
            )
            log.record(changed, by=str(number))
            if number % 3 == 2:
                new = log.totals(after=seq)
                kept, seq = together(kept, new.rows), new.seq
        new = log.totals(after=seq)
        whole = log.totals()
        assert together(kept, new.rows) == together((), whole.rows)
        assert new.seq == whole.seq
        assert log.totals(after=whole.seq) == replace(whole, rows=())
        assert sum(row.activities for row in whole.rows) == 7
        assert sum(row.items for row in whole.rows) == 84


@given(
    st.lists(
        st.builds(
            ActivityTotal,
            command=st.sampled_from(["run detect", "review pull"]),
            state=st.sampled_from([None, "staged"]),
            outcome=st.sampled_from(OUTCOMES),
            activities=st.integers(1, 9),
            items=st.integers(0, 99),
            seconds=st.integers(0, 9).map(float),
            last_ended_at=st.datetimes(timezones=st.just(UTC)),
        ),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_the_order_in_which_sums_come_does_not_matter(rows: list[ActivityTotal], cut: int) -> None:
    assert together((), rows) == together((), [*rows[cut:], *rows[:cut]])
    assert together(together((), rows[:cut]), rows[cut:]) == together((), rows)

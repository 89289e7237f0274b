"""Leases: one holder at a time, a higher token at every taking, the dead found out, publication proved."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from facestore.catalogue import open_catalogue, writing
from facestore.errors import LeaseHeld, LeaseLost, StoreError
from facestore.heartbeat import held
from facestore.ids import JsonValue, sha256_hex
from facestore.leases import Lease, Leases, _LeaseRow, are_related, has_ended, this_process
from facestore.ledger import Ledger, StageRun, record_in

ELSEWHERE = "another-machine:0000:1:77:12345"


@contextmanager
def _leases(url: str, holder: str | None = None) -> Iterator[Leases]:
    leases = Leases(url, holder)
    try:
        yield leases
    finally:
        leases.close()


@pytest.fixture
def mine(url: str) -> Iterator[Leases]:
    with _leases(url) as leases:
        yield leases


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Tests of one PostgreSQL server share its table."""
    return sha256_hex(request.node.name.encode())


def _run(run_key: str) -> StageRun:
    nothing: JsonValue = {}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return StageRun(
        run_key=run_key, stage="s", params=nothing, inputs=nothing, outputs=nothing, counts=nothing, timings=nothing,
        published_at=now, wall_s=0.0,
    )  # fmt: skip


def test_a_lease_has_one_holder_and_each_taking_a_higher_token(mine: Leases, name: str, url: str) -> None:
    first = mine.take(name, 60)
    with _leases(url, ELSEWHERE) as other:
        with pytest.raises(LeaseHeld, match=f"already running .by {this_process()}.; wait"):
            other.take(name, 60)
        mine.give_back(first)
        second = other.take(name, 60)
        assert second.token > first.token
        other.give_back(second)


def test_a_lease_that_ran_out_may_be_taken_and_its_old_holder_is_told(mine: Leases, name: str, url: str) -> None:
    with _leases(url, ELSEWHERE) as other:
        lost = other.take(name, 0.1)
        with pytest.raises(LeaseHeld):
            mine.take(name, 60)
        time.sleep(0.15)
        ours = mine.take(name, 60)
        with pytest.raises(LeaseLost, match="nothing of this run was published"):
            other.renew(lost, 60)
        with pytest.raises(LeaseLost), other.fenced(lost):
            pytest.fail("a lost lease was proved")
        other.give_back(lost)  # does nothing
        mine.renew(ours, 60)
        (state,) = [state for state in mine.states() if state.name == name]
        assert (state.holder, state.losses) == (this_process(), 1)
        mine.give_back(ours)


def test_a_lease_that_ran_out_and_nobody_took_is_still_ours(mine: Leases, name: str) -> None:
    lease = mine.take(name, 0.05)
    time.sleep(0.1)
    with mine.fenced(lease) as session:
        record_in(session, _run(name))
    mine.renew(lease, 60)
    mine.give_back(lease)


def test_a_renewed_lease_is_held_beyond_its_first_end(mine: Leases, name: str, url: str) -> None:
    lease = mine.take(name, 0.3)
    mine.renew(lease, 60)
    time.sleep(0.4)
    with _leases(url, ELSEWHERE) as other, pytest.raises(LeaseHeld):
        other.take(name, 60)
    mine.give_back(lease)


def test_a_holder_of_this_machine_whose_process_ended_is_taken_over_at_once(mine: Leases, name: str, url: str) -> None:
    script = "import sys\nfrom facestore.leases import Leases\nLeases(sys.argv[1]).take(sys.argv[2], 3600)"
    subprocess.run([sys.executable, "-c", script, url, name], check=True)
    assert mine.take(name, 60).token == 2


def test_who_ended_and_who_did_not() -> None:
    machine, pid, started = this_process().rsplit(":", 2)
    assert not has_ended(this_process())
    assert has_ended(f"{machine}:{pid}:{int(started) + 1}")  # the number was given to another process
    assert has_ended(f"{machine}:4194305:{started}")  # beyond the largest number of a process
    assert not has_ended(f"elsewhere{machine}:4194305:{started}")
    assert not any(has_ended(holder) for holder in ("", "x", "a:b:c", f"{machine}:x:1"))


def test_a_process_that_cannot_be_seen_may_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on machines that hide the processes of other users."""

    def hidden(pid: int, signal_number: int) -> None:
        raise PermissionError

    machine = this_process().rsplit(":", 2)[0]
    monkeypatch.setattr(os, "kill", hidden)
    assert not has_ended(f"{machine}:4194305:1")


@given(st.lists(st.sampled_from(["a", "b", "a/x", "a/y", "a/x/1", "b/x"]), max_size=12))
@settings(max_examples=30)
def test_no_two_leases_are_held_of_which_one_holds_the_other(names: list[str]) -> None:
    with _leases("sqlite://", ELSEWHERE) as leases:
        taken: dict[str, Lease] = {}
        for name in names:
            blocked = [other for other in taken if are_related(other, name)]
            if blocked:
                with pytest.raises(LeaseHeld):
                    leases.take(name, 60)
                for other in blocked:
                    leases.give_back(taken.pop(other))
            taken[name] = leases.take(name, 60)
        assert {state.name for state in leases.states() if state.holder} == set(taken)


def test_what_is_written_in_a_fence_counts_whole_or_not_at_all(mine: Leases, name: str, url: str) -> None:
    lease = mine.take(name, 60)
    ledger = Ledger(url)
    with pytest.raises(OSError, match="disk"), mine.fenced(lease) as session:
        record_in(session, _run(name))
        raise OSError("disk full")
    assert ledger.find(name) is None
    with mine.fenced(lease) as session:
        record_in(session, _run(name))
        record_in(session, _run(name))
    assert ledger.find(name) is not None
    ledger.close()
    mine.give_back(lease)


def test_nobody_takes_a_lease_while_its_holder_is_in_the_fence(mine: Leases, name: str, url: str) -> None:
    lease, taken = mine.take(name, 0.1), threading.Event()

    def take() -> None:
        with _leases(url, ELSEWHERE) as other:
            other.give_back(other.take(name, 60))
        taken.set()

    with mine.fenced(lease):
        time.sleep(0.15)  # it has run out meanwhile
        thread = threading.Thread(target=take)
        thread.start()
        assert not taken.wait(0.4)
    assert taken.wait(10)
    thread.join()


def test_a_heartbeat_keeps_a_lease_beyond_its_seconds(name: str, url: str) -> None:
    with held(url, name, seconds=0.6) as lease, _leases(url, ELSEWHERE) as other:
        for _ in range(6):
            time.sleep(0.25)
            lease.check()
            with pytest.raises(LeaseHeld):
                other.take(name, 60)
    with _leases(url, ELSEWHERE) as other:
        other.give_back(other.take(name, 60))  # given back at the end


def test_work_that_fails_after_its_lease_was_lost_says_so(name: str, url: str) -> None:
    with pytest.raises(LeaseLost) as caught, held(url, name, seconds=30) as lease:
        _rob(url, name)
        lease.check()  # the heartbeat does not know yet
        raise FileNotFoundError("swept by the new holder")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(ValueError, match="broken"), held(url, f"{name}+", seconds=30):
        raise ValueError("broken")


def test_the_heartbeat_learns_of_a_loss(name: str, url: str) -> None:
    with pytest.raises(LeaseLost), held(url, name, seconds=0.3) as lease:
        _rob(url, name)
        for _ in range(100):
            time.sleep(0.05)
            lease.check()


def _rob(url: str, name: str) -> None:
    """Another machine takes the lease as if it had run out."""
    engine = open_catalogue(url, "leases")
    with writing(engine, "rob") as session:
        row = session.scalars(select(_LeaseRow).where(_LeaseRow.name == name)).one()
        row.expires_at -= timedelta(days=1)
    engine.dispose()
    with _leases(url, ELSEWHERE) as other:
        other.take(name, 3600)


def test_a_held_lease_is_waited_for(name: str, url: str) -> None:
    said: list[str] = []
    with _leases(url, ELSEWHERE) as other:
        other.take(name, 0.6)
        with pytest.raises(LeaseHeld), held(url, name, seconds=60, wait_s=0.1):
            pytest.fail("held twice")
        with held(url, name, seconds=60, wait_s=20, on_wait=said.append) as lease:
            assert lease.lease.token == 2
    assert len(said) == 1
    assert ELSEWHERE in said[0]


def test_a_database_that_is_away_for_some_beats_costs_nothing(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Leases.renew
    failures: list[Lease] = []

    def away(self: Leases, lease: Lease, seconds: float) -> None:
        if len(failures) < 3:
            failures.append(lease)
            raise StoreError("no connection")
        real(self, lease, seconds)

    monkeypatch.setattr(Leases, "renew", away)
    with held(url, name, seconds=0.6) as lease:
        time.sleep(1.2)
        lease.check()
        with lease.fenced():
            pass
        with _leases(url, ELSEWHERE) as other, pytest.raises(LeaseHeld):
            other.take(name, 60)
    assert len(failures) == 3

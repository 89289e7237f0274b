"""Runs of a stage under leases: two at once, killed ones, long ones, waiting ones, and a database that is busy."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceloop import cli
from faceloop.runner import Workspace, run_stage
from facestore.errors import ServerAway
from facestore.leases import Leases
from facestore.publish import verify

from .lease_world import (
    DONE,
    ELSEWHERE,
    HELD,
    begun,
    kill_all,
    leased,
    leftovers,
    open_gate,
    own_database,
    start,
    start_command,
    why,
    worked,
    writers,
)
from .runner_world import ROOT, SMALL, digests_of


@pytest.fixture
def root(ingested: Workspace) -> Workspace:
    return leased(ingested, 60.0)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    kill_all()


@pytest.fixture
def postgres_root(ingested: Workspace, postgres_url: str) -> Iterator[Workspace]:
    with own_database(postgres_url) as url:
        yield leased(ingested, 60.0, url)


@pytest.fixture(params=["root", pytest.param("postgres_root", marks=pytest.mark.integration)])
def either(request: pytest.FixtureRequest) -> Workspace:
    work: Workspace = request.getfixturevalue(request.param)
    return work


def test_of_two_runs_of_one_batch_at_once_one_works_and_the_other_is_refused(either: Workspace) -> None:
    one = start(either, "one", batches=("b000",), gate="b000")
    begun(either, "one b000")
    assert start(either, "two", batches=("b000",)).ended(60) == HELD
    assert start(either, "three").ended(60) == HELD  # the whole run holds its batches too
    assert start(either, "four", batches=("b002",)).ended(60) == DONE  # other batches are free
    open_gate(either)
    assert one.ended(60) == DONE, why(either)
    assert worked(either) == {"one b000": 1, "four b002": 1}
    assert start(either, "five").ended(60) == DONE
    assert writers(either) == {"b000": "one", "b002": "four"}
    assert leftovers(either) == []


def test_of_two_runs_at_once_one_works_and_the_other_waits_and_finds_it_done(either: Workspace) -> None:
    runs = [start(either, who, wait_s=60, pause_s=0.02) for who in ("one", "two")]
    assert [run.ended(60) for run in runs] == [DONE, DONE], why(either)
    assert sum(worked(either).values()) == 2
    assert len(set(writers(either).values())) == 1


@pytest.mark.parametrize("batch", ["b000", "b002"])
def test_a_killed_run_is_taken_over_at_once_on_the_same_machine(batch: str, root: Workspace) -> None:
    killed = start(root, "killed", gate=batch)
    begun(root, f"killed {batch}")
    killed.send(signal.SIGKILL)
    assert killed.ended(10) is not None
    assert start(root, "next").ended(60) == DONE, why(root)  # within lease_s, and without waiting
    assert writers(root) == {"b000": "next" if batch == "b000" else "killed", "b002": "next"}
    assert leftovers(root) == []


def test_a_holder_on_another_machine_is_waited_for_until_its_lease_runs_out(root: Workspace) -> None:
    elsewhere = Leases(root.ledger_url(), ELSEWHERE)
    elsewhere.take("detect", 1.5)
    assert start(root, "refused").ended(60) == HELD
    assert start(root, "patient", wait_s=60).ended(60) == DONE, why(root)
    assert elsewhere.states()[0].losses == 1
    elsewhere.close()


def test_a_run_that_takes_longer_than_its_lease_keeps_it(either: Workspace) -> None:
    brief = leased(either, 0.6, either.ledger_url())
    long = start(brief, "long", gate="b000")
    begun(brief, "long b000")
    time.sleep(1.2)
    assert start(brief, "other").ended(60) == HELD
    open_gate(brief)
    assert long.ended(60) == DONE, why(brief)
    assert set(writers(brief).values()) == {"long"}


def test_a_database_locked_for_longer_than_the_lease_is_waited_for(root: Workspace) -> None:
    brief = leased(root, 0.5)
    run = start(brief, "run", gate="b000")
    begun(brief, "run b000")
    locker = sqlite3.connect(brief.root / "ledger.sqlite3", timeout=30, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    open_gate(brief)
    assert run.ended(2.5) is None
    locker.execute("ROLLBACK")
    locker.close()
    assert run.ended(60) == DONE, why(brief)
    assert writers(brief) == {"b000": "run", "b002": "run"}


def test_a_run_that_is_ended_politely_gives_its_lease_back_and_leaves_nothing_half_done(root: Workspace) -> None:
    run = start_command(root, "run", ["run", "detect", *_options(root)], gate="b000")
    begun(root, "run b000")
    run.send(signal.SIGTERM)
    assert run.ended(10) == 128 + signal.SIGTERM
    leases = Leases(root.ledger_url(), ELSEWHERE)
    leases.give_back(leases.take("detect", 60))
    leases.close()
    assert leftovers(root) == []


def test_a_command_ends_with_75_while_another_runs_and_with_0_when_it_waited(
    root: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    command = ["run", "detect", "--batch", "b002", "--batch", "b000", *_options(root)]
    try:
        other = start(root, "other", batches=("b000",), gate="b000")
        begun(root, "other b000")
        assert _main(command, monkeypatch) == 75
        assert "already running" in capsys.readouterr().err
        waiting = start_command(root, "waiting", [*command, "--wait", "60"])
        assert waiting.ended(0.5) is None
        open_gate(root)
        assert other.ended(60) == DONE, why(root)
        assert waiting.ended(60) == 0, why(root)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert worked(root) == {"other b000": 1, "waiting b002": 1}


def test_a_server_that_is_away_is_come_back_to_and_other_errors_are_not(
    root: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)

    def away(*_: object, **__: object) -> None:
        raise ServerAway("no connection")

    try:
        assert _main(["run", "nothing", *_options(root)], monkeypatch) == 2
        assert _main(["run", "pack", *_options(root)], monkeypatch) == 98  # nothing of its inputs was made yet
        monkeypatch.setattr(cli, "run_stage", away)
        assert _main(["run", "detect", *_options(root)], monkeypatch) == 75
    finally:
        signal.signal(signal.SIGTERM, handler)


def _options(work: Workspace) -> list[str]:
    return ["--root", str(work.root), "--params", str(ROOT / "params.yaml"), *_overrides(work)]


def _overrides(work: Workspace) -> list[str]:
    return [word for override in (*SMALL, f"paths.source={work.paths.source}") for word in ("-S", override)]


def _main(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["faceloop", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.integration
def test_a_real_detect_stopped_in_a_batch_and_woken_late_changes_nothing(ingested: Workspace, done: Workspace) -> None:
    faceloop = Path(sys.executable).parent / "faceloop"
    command = [str(faceloop), "run", "detect", *_options(ingested), "--threads", "1", "-S", "loop.lease_s=1"]
    late = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(ingested.root.glob(".faces.t*/batches/*")):
        assert late.poll() is None
        assert time.monotonic() < until
        time.sleep(0.005)
    late.send_signal(signal.SIGSTOP)
    try:
        prompt = subprocess.run([*command, "--wait", "30"], check=False, capture_output=True, text=True)
        assert prompt.returncode == 0, prompt.stderr
    finally:
        late.send_signal(signal.SIGCONT)
    said, complaint = late.communicate(timeout=60)
    assert (late.returncode, said) == (2, "")
    assert "another run took over" in complaint
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")
    for artifact in ("faces", "crops"):
        verify(ingested.path(artifact))
    assert leftovers(ingested) == []
    assert run_stage(ingested, "detect").was_published_before


def test_runs_of_one_process_hold_leases_against_each_other(work: Workspace) -> None:
    """Threads have the same holder; the token tells them apart."""
    outcomes: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: outcomes.append(run_stage(work, "embed", again=True, wait_s=60).was_published_before)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [False, False]
    verify(work.path("embeddings"))

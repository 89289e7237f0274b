"""Bar B5: the same work started twice, and a process that wakes after another took its work over.

Short: 6 double runs and 3 resumes. FACELOOP_LONG=1: 100 and 20.
"""

import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import pytest
from tests.chaos.accounting import Receipts, account
from tests.chaos.faults import DONE, Forked
from tests.chaos.parts import fill_pack, pack_workspace, packed_faces, some_decisions

from faceloop import runner
from faceloop.ledger_lines import ledger_line
from faceloop.runner import run_stage
from faceloop.stages import pack
from facestore import leases
from facestore.decisionlog import DecisionLog
from facestore.errors import LeaseLost
from facestore.ledger import Ledger
from facestore.publish import read_manifest, verify

pytestmark = pytest.mark.integration

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
DOUBLES, RESUMES = (100, 20) if IS_LONG else (6, 3)
LEASE_S = 0.3
WAIT_S = 60.0
DECISIONS = some_decisions(DOUBLES)
_RENEW = leases.Leases.renew


def _work_twice(root: Path, number: int) -> list[str]:
    """Two processes do round `number` at once; what they were told."""

    def work(receipts: Receipts) -> None:
        outcome = run_stage(pack_workspace(root, number), "pack", wait_s=WAIT_S)
        if not outcome.was_published_before:
            receipts.write(f"worked {number}")
        log = DecisionLog(pack_workspace(root).ledger_url())
        for _ in range(log.append([DECISIONS[number]])):
            receipts.write(DECISIONS[number].decision_id)
        log.close()

    both = [Forked(work) for _ in range(2)]
    for child in both:
        child.release()
    codes = [child.wait() for child in both]
    assert codes == [DONE, DONE], [child.error() for child in both]
    told = [line for child in both for line in child.receipts.lines()]
    for child in both:
        child.close()
    return told


def test_of_two_runs_at_once_one_works_and_nothing_is_there_twice(tmp_path: Path) -> None:
    faces = sorted(face.face_id for face in fill_pack(tmp_path))
    told = [line for number in range(DOUBLES) for line in _work_twice(tmp_path, number)]
    log = DecisionLog(pack_workspace(tmp_path).ledger_url())
    kept = [decision.decision_id for decision in log.all()]
    log.close()
    wanted = [decision.decision_id for decision in DECISIONS[:DOUBLES]]
    assert account(attempted=wanted, acknowledged=wanted, found=kept).is_clean
    assert sorted(told) == sorted([*wanted, *(f"worked {number}" for number in range(DOUBLES))])
    assert sorted(packed_faces(pack_workspace(tmp_path))) == faces


def _late(root: Path, number: int, at: str) -> Forked:
    """A run that stops itself before its stage works, or when all is sealed; what it was told when it woke."""

    beat = threading.Lock()

    def stop_before(real: Callable[..., object]) -> Callable[..., object]:
        @wraps(real)
        def stopping(*arguments: object, **named: object) -> object:
            with beat:  # stopped inside a transaction it would hold the others up, which is another matter
                os.kill(os.getpid(), signal.SIGSTOP)
            return real(*arguments, **named)

        return stopping

    def renew(self: leases.Leases, lease: leases.Lease, seconds: float) -> None:
        with beat:
            _RENEW(self, lease, seconds)

    def work(receipts: Receipts) -> None:
        setattr(leases.Leases, "renew", renew)  # noqa: B010  # for the type checker; in the child alone
        if at == "stage":
            pack.run = stop_before(pack.run)  # type: ignore[assignment]
        else:
            setattr(runner, "ledger_line", stop_before(ledger_line))  # noqa: B010  # for the type checker
        try:
            run_stage(_brief(root, number), "pack")
            receipts.write("published")
        except LeaseLost:
            receipts.write("refused")

    child = Forked(work)
    child.release()
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1]), child.error()
    return child


def _brief(root: Path, number: int) -> runner.Workspace:
    return pack_workspace(root, number, f"loop.lease_s={LEASE_S}")


def _overtaken(root: Path, number: int, at: str) -> tuple[list[str], bool]:
    """What the late one was told, and whether what the prompt one published stayed as it was."""
    late = _late(root, 2 * number, at)
    try:
        prompt = run_stage(_brief(root, 2 * number + 1), "pack", wait_s=WAIT_S)
    finally:
        os.kill(late.pid, signal.SIGCONT)
    late.wait()
    told = late.receipts.lines() or late.error().splitlines()[-1:]
    late.close()
    manifest = read_manifest(root / "root" / "release")
    return told, manifest is not None and manifest.run_key == prompt.run_key


def test_a_run_that_wakes_after_another_took_over_publishes_nothing(tmp_path: Path) -> None:
    faces = sorted(face.face_id for face in fill_pack(tmp_path))
    for number in range(RESUMES):
        at = ("stage", "sealed")[number % 2]
        assert _overtaken(tmp_path, number, at) == (["refused"], True), (number, at)
        work = pack_workspace(tmp_path)
        verify(work.path("release"))
        assert sorted(packed_faces(work)) == faces
        ledger = Ledger(work.ledger_url())
        last = ledger.latest("pack")
        ledger.close()
        manifest = read_manifest(work.path("release"))
        assert last is not None
        assert manifest is not None
        assert last.run_key == manifest.run_key


def test_the_check_finds_a_fence_that_asks_for_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant believes whoever says that the lease is his."""
    fill_pack(tmp_path)
    monkeypatch.setattr(leases, "_proved", lambda session, lease: session.get(leases._LeaseRow, lease.name))
    told, is_untouched = _overtaken(tmp_path, 0, "stage")
    assert told != ["refused"]
    assert not is_untouched

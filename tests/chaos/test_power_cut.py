"""Bar B2: the power goes while releases are packed and decisions taken in; what the catalogue says is there is whole.

Short: 5 cuts. FACELOOP_LONG=1: 30. FACELOOP_CUTS says how many instead.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chaos.accounting import Receipts
from tests.chaos.faults import Forked
from tests.chaos.parts import fill_pack, pack_workspace, packed_faces, some_decisions
from tests.chaos.power import after_a_cut, disk, need_power_cuts

from faceloop.runner import Workspace, run_stage
from facestore import leases
from facestore.decisionlog import DecisionLog
from facestore.errors import DataError, StoreError
from facestore.ledger import Ledger, StageRun
from facestore.lmdbfile import LmdbWriter
from facestore.publish import read_manifest, recover, verify

pytestmark = pytest.mark.integration

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
CUTS = int(os.environ.get("FACELOOP_CUTS", "30" if IS_LONG else "5"))
ROUNDS = 2_000  # more than any test waits for
DECISIONS = some_decisions(ROUNDS)


@pytest.fixture(autouse=True)
def _disk() -> None:
    need_power_cuts()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut: rounds that were acknowledged before it, and what was wrong after it."""

    rounds: int
    wrong: tuple[str, ...]


def _write(root: Path, receipts: Receipts, first: int = 0) -> None:
    log = DecisionLog(pack_workspace(root).ledger_url())
    for number in range(first, ROUNDS):
        run_stage(pack_workspace(root, number), "pack")
        receipts.write(f"release {number}")
        log.append([DECISIONS[number]])
        receipts.write(f"decision {number}")


@contextmanager
def _writer(root: Path) -> Iterator[Forked]:
    child = Forked(lambda receipts: _write(root, receipts))
    child.release()
    try:
        yield child
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.close()


def _stop(child: Forked) -> None:
    os.kill(child.pid, signal.SIGSTOP)
    ended, status = os.waitpid(child.pid, os.WUNTRACED)
    assert ended == child.pid
    assert os.WIFSTOPPED(status), child.error()


def _cuts(count: int) -> list[Cut]:
    """Random moments of one writer, whose root and catalogue lie on the image."""
    chance = random.Random(11)
    with disk() as (image, mounted):
        faces = sorted(face.face_id for face in fill_pack(mounted / "w"))
        os.sync()
        with _writer(mounted / "w") as child:
            while not child.receipts.lines():
                assert os.waitpid(child.pid, os.WNOHANG)[0] == 0, child.error()
                time.sleep(0.002)
            found = []
            for _ in range(count):
                time.sleep(chance.random() * 0.2)
                _stop(child)
                told = child.receipts.lines()
                with after_a_cut(image) as left:
                    found.append(Cut(rounds=len(told) // 2, wrong=tuple(_wrong(left / "w", told, faces))))
                os.kill(child.pid, signal.SIGCONT)
            return found


def _wrong(root: Path, told: list[str], faces: list[str]) -> list[str]:
    """What the disk and the catalogue of a cut root contradict each other in; then one more round must do."""
    try:
        wrong = [*_lost(root, told), *_bad(pack_workspace(root), faces)]
        last = 1 + max(int(line.split()[1]) for line in told)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(leases, "has_ended", lambda _: True)  # nobody from before the cut lives after it
            run_stage(pack_workspace(root, last), "pack")
        return wrong + [f"after one more round: {one}" for one in _bad(pack_workspace(root), faces)]
    except (DataError, StoreError, OSError, AssertionError) as error:
        return [f"{type(error).__name__}: {error}"]


def _lost(root: Path, told: list[str]) -> list[str]:
    log = DecisionLog(pack_workspace(root).ledger_url())
    kept = [decision.decision_id for decision in log.all()]
    log.close()
    numbers = [int(line.split()[1]) for line in told if line.startswith("decision")]
    missing = [number for number in numbers if DECISIONS[number].decision_id not in kept]
    return [f"acknowledged decisions are gone: {missing}"] * bool(missing) + ["a decision is doubled"] * (
        len(kept) != len(set(kept))
    )


def _bad(work: Workspace, faces: list[str]) -> list[str]:
    """The release that is there is whole, and is the ledger's last one or newer."""
    path = work.path("release")
    recover(path)
    run = _last_run(work)
    if run is None:
        return ["an acknowledged release is not in the ledger"]
    verify(path)
    manifest = read_manifest(path)
    assert manifest is not None
    is_known = run.run_key == manifest.run_key
    wrong = [] if sorted(packed_faces(work)) == faces else ["faces of the release are lost or doubled"]
    if is_known and run.outputs != {"release": manifest.digest}:
        wrong.append("the ledger names another release")
    return wrong


def _last_run(work: Workspace) -> StageRun | None:
    ledger = Ledger(work.ledger_url())
    run = ledger.latest("pack")
    ledger.close()
    return run


def test_what_the_catalogue_names_is_whole_after_a_power_cut() -> None:
    cuts = _cuts(CUTS)
    assert [cut for cut in cuts if cut.wrong] == []
    assert len(cuts) == CUTS
    assert all(cut.rounds >= 0 for cut in cuts)
    assert cuts[-1].rounds >= 1


def test_cuts_find_a_writer_that_syncs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant leaves out every fsync but the database's own."""

    def close(self: LmdbWriter, *, commit: bool) -> None:
        if commit:
            self._commit()
        else:
            self._txn.abort()
        self._env.close()

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(LmdbWriter, "close", close)
    cuts = _cuts(CUTS)
    caught = [cut for cut in cuts if cut.wrong]
    assert len(caught) >= (CUTS / 2 if IS_LONG else 1), cuts

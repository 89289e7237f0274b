"""Bars B1 and B3: a kill, a full disk or a failing one at any system call, and a kill while recovering from it.

Short: about 40 points, none of an erasure. FACELOOP_LONG=1: 600 points and 60 pairs. FACELOOP_POINTS: other numbers.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.chaos import parts
from tests.chaos.faults import DONE, REFUSED, Fault, count_calls, need_strace, run, run_with, spread
from tests.chaos.parts import PARTS
from tests.chaos.sweeping import Verdict, faults_of, figures, judge, points, without_a_unique_key

from faceloop import runner
from facestore import decisionlog
from facestore.publish import Manifest, seal

pytestmark = pytest.mark.integration

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
POINTS = int(os.environ.get("FACELOOP_POINTS", "600" if IS_LONG else "36"))
PAIRS = 60 if IS_LONG else 4
SWEPT = [name for name in sorted(PARTS) if IS_LONG or name != "erase"]  # a second a run: left to the long form
SHARE_FIRED = 0.8  # of the points that are chosen: a run makes a few calls more or fewer than the one that was counted


@pytest.fixture(autouse=True)
def _strace() -> None:
    need_strace()


def _bad(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.wrong]


def test_a_fault_at_any_system_call_loses_and_doubles_nothing(record_property: Callable[[str, object], None]) -> None:
    chosen = points(SWEPT, POINTS)
    verdicts = [judge(name, PARTS[name], [fault]) for name, fault in chosen]
    assert _bad(verdicts) == []
    fired = sum(verdict.fired for verdict in verdicts)
    record_property("figures", figures(verdicts))
    assert fired >= SHARE_FIRED * len(chosen), figures(verdicts)
    assert set(figures(verdicts)["effect"]) == {"SIGKILL", "ENOSPC", "EIO"}
    assert set(figures(verdicts)["part"]) == set(SWEPT)


def test_a_kill_while_recovering_from_a_kill_loses_and_doubles_nothing() -> None:
    chosen = [(name, fault) for name in SWEPT for fault in faults_of(name) if fault.effect == "SIGKILL"]
    chance = random.Random(3)
    verdicts: list[Verdict] = []
    while sum(verdict.fired == 2 for verdict in verdicts) < PAIRS:
        assert len(verdicts) < 4 * PAIRS, [verdict.fired for verdict in verdicts]
        name, first = chance.choice(chosen)
        again = chance.choice([fault for other, fault in chosen if other == name])
        verdicts.append(judge(name, PARTS[name], [first, again]))
    assert _bad(verdicts) == []


def test_the_sweep_finds_a_logwithout_a_unique_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant writes whatever it is given; who runs again says everything again."""
    monkeypatch.setattr(decisionlog, "known_ids", lambda *_: set())
    mutant = lambda folder: parts.decisions(folder, before=without_a_unique_key)  # noqa: E731
    verdicts = [
        judge("decisions", mutant, [Fault(syscall="fdatasync", when=when, effect="SIGKILL")]) for when in (4, 5, 6)
    ]
    assert [verdict.fired for verdict in verdicts] == [1, 1, 1]
    assert all(any("doubled" in wrong for wrong in verdict.wrong) for verdict in verdicts), verdicts


def test_the_sweep_finds_a_publication_that_comes_before_its_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant puts the folder in place first, and its manifest there afterwards."""
    made: dict[str, dict[str, object]] = {}

    def late_seal(staging: Path, **said: object) -> Manifest:
        manifest: Manifest = seal(staging, **said)  # type: ignore[arg-type]
        made[staging.as_posix()] = said
        return manifest

    def hasty(sealed: Path, path: Path, **_: object) -> None:
        (sealed / "_manifest.json").unlink()
        sealed.rename(path)
        seal(path, **made[sealed.as_posix()])  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "seal", late_seal)
    monkeypatch.setattr(runner, "put_in_place", hasty)
    with PARTS["pack"](tmp_path / "counted") as world:
        renames = count_calls(world.work, tmp_path / "log")["rename"]
    verdict = judge("pack", PARTS["pack"], [Fault(syscall="rename", when=renames, effect="SIGKILL")])
    assert verdict.fired == 1
    assert any("at once" in wrong and "never published" in wrong for wrong in verdict.wrong), verdict


@pytest.mark.parametrize("syscall", ["pwrite64", "fdatasync"])
def test_a_full_disk_is_said_as_an_error_of_ours(syscall: str, tmp_path: Path) -> None:
    with PARTS["decisions"](tmp_path / "world") as world:
        ended = run_with(Fault(syscall=syscall, when=3, effect="ENOSPC"), world.work, tmp_path / "log")
        assert (ended.is_fired, ended.code) == (True, REFUSED), ended.error
        assert run(world.work).code == DONE


def test_calls_are_counted_and_spread_over_all_kinds(tmp_path: Path) -> None:
    with PARTS["exchange"](tmp_path / "world") as world:
        calls = count_calls(world.work, tmp_path / "log")
    assert {"fsync", "rename"} <= set(calls)
    every = spread(calls, 1 << 30)
    assert len(every) == 3 * sum(calls.values())
    some = spread(calls, 12)
    assert len(some) == 12
    assert {fault.effect for fault in some} == {"SIGKILL", "ENOSPC", "EIO"}

"""Plans and takes: everything new is in one share, taken once, whatever happens in between."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from faceloop.intake.planning import FootagePlan, plan_footage
from faceloop.intake.plans import KEPT_S, read_share
from faceloop.intake.settling import Pace
from faceloop.intake.taking import take
from faceloop.runner import Workspace, hold, run_stage
from faceloop.stage import Report
from facestore.errors import LeaseHeld, StageError
from facestore.ids import file_sha256
from facestore.sources import open_source

from .intake_world import NOW_NS, aged, inbox, ingest_with_findings, opened, photo
from .runner_world import ROOT

NOW_S = NOW_NS / 1e9


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return inbox(tmp_path / "inbox")


@pytest.fixture
def work(source: Path, tmp_path: Path) -> Workspace:
    return opened(tmp_path / "root", source)


def _plan(
    work: Workspace, now_s: float = NOW_S, quiet_s: float = 0.0, sleep: Callable[[float], None] = lambda seconds: None
) -> FootagePlan:
    work.root.mkdir(exist_ok=True)
    clock = iter(range(99))
    pace = Pace(quiet_s=quiet_s, at_most_s=2.0, sleep=sleep, clock=lambda: float(next(clock)))
    return plan_footage(work, pace, now_s=now_s)


def _take_all(work: Workspace, plan: FootagePlan) -> Report:
    total = Report()
    for share in plan.shares:
        total.add(take(work, share, now_ns=NOW_NS))
    return total


def test_a_plan_shares_out_exactly_what_is_new(work: Workspace, source: Path) -> None:
    plan = _plan(work)
    assert (plan.locations, plan.known, plan.new, len(plan.shares), plan.is_due) == (10, 0, 10, 3, True)
    planned = [at.path for name in plan.shares for at in read_share(work.root, str(source), name).locations]
    on_disk = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert sorted(planned) == sorted(on_disk - {"sources.csv"})


def test_the_same_footage_is_the_same_plan(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _plan(work)

    class Reversed:
        def __init__(self, url: str) -> None:
            self.locations = lambda: reversed(list(open_source(url).locations()))

    with monkeypatch.context() as patch:
        patch.setattr("faceloop.intake.planning.open_source", Reversed)
        assert _plan(work) == first
    assert _plan(work) == first
    assert len(list((work.root / "plans").iterdir())) == 1


def test_what_was_taken_is_known_and_ingest_hashes_none_of_it(
    work: Workspace, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = _take_all(work, _plan(work))
    assert taken.counts() == {
        "in": 10,
        "published": 7,
        "rejected": {"corrupt_media": 1, "empty_file": 1, "not_media": 1},
        "pending": {},
    }
    after = _plan(work)
    assert (after.known, after.new, after.shares, after.is_due) == (10, 0, (), True)
    expected = ingest_with_findings(opened(tmp_path / "fresh", source), tmp_path / "alone")[1]
    monkeypatch.setattr("faceloop.footage.looking.file_sha256", None)  # any call would fail
    assert ingest_with_findings(work, tmp_path / "out")[1] == expected


def test_a_share_may_be_taken_again(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan(work)
    first = _take_all(work, plan)
    monkeypatch.setattr("faceloop.footage.looking.file_sha256", None)
    assert _take_all(work, plan).counts() == first.counts()


def test_a_share_taken_again_after_a_file_changed_does_not_count_it_as_taken(work: Workspace, source: Path) -> None:
    plan = _plan(work)
    _take_all(work, plan)
    aged(photo(source / "again.png", 800), by_s=50)
    (source / "notes.jpg").unlink()
    assert _take_all(work, plan).pending == {"changed_since_plan": 1, "vanished": 1}


def test_what_changed_or_vanished_since_the_plan_waits_for_the_next(work: Workspace, source: Path) -> None:
    plan = _plan(work)
    aged(photo(source / "again.png", 800), by_s=55)
    (source / "notes.jpg").unlink()
    taken = _take_all(work, plan)
    assert taken.pending == {"changed_since_plan": 1, "vanished": 1}
    assert taken.published + taken.rejected.total() == 8
    after = _plan(work)
    assert (after.known, after.new) == (8, 1)
    assert _take_all(work, after).published == 1


def test_a_file_that_changes_under_our_eyes_waits_too(
    work: Workspace, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def growing(path: Path) -> str:
        digest = file_sha256(path)
        if path.name == "again.png":
            path.write_bytes(path.read_bytes() + b"more")
        return digest

    plan = _plan(work)
    with monkeypatch.context() as patch:
        patch.setattr("faceloop.footage.looking.file_sha256", growing)
        assert _take_all(work, plan).pending == {"changed_since_plan": 1}
    aged(source / "again.png")
    assert _plan(work).new == 1


def test_files_that_still_arrive_are_counted_and_left_for_later(work: Workspace, source: Path) -> None:
    def write_on(seconds: float) -> None:
        with (source / "cam 0" / "0.png").open("ab") as file:
            file.write(b"more")

    plan = _plan(work, quiet_s=0.1, sleep=write_on)
    assert (plan.locations, plan.new, plan.arriving, plan.is_due) == (10, 9, 1, True)
    _take_all(work, plan)
    later = _plan(work, quiet_s=0.1, sleep=write_on)
    assert (later.new, later.arriving, later.is_due) == (0, 1, False)


def test_nothing_is_due_exactly_while_ingest_would_say_unchanged(work: Workspace, source: Path) -> None:
    _take_all(work, _plan(work))
    assert _plan(work).is_due
    run_stage(work, "ingest")
    plan = _plan(work)
    assert (plan.is_due, plan.locations, plan.known, plan.new) == (False, 10, 10, 0)
    assert run_stage(work, "ingest").was_published_before
    (source / "notes.jpg").unlink()
    assert _plan(work).is_due
    assert not run_stage(work, "ingest").was_published_before
    other = opened(work.root, source, "ingest.min_height_px=20")
    assert _plan(other).is_due
    assert _plan(work).is_due is False


def test_a_share_that_another_takes_is_refused(work: Workspace) -> None:
    share, *others = _plan(work).shares
    with hold(work, f"take/{share}"):
        with pytest.raises(LeaseHeld):
            take(work, share, now_ns=NOW_NS)
        assert take(work, others[0], now_ns=NOW_NS).items_in > 0


@pytest.mark.parametrize("name", ["", "../../x/000", "0123456789abcdef/000", "PLAN/0", "{plan}/003", "{plan}/0000"])
def test_an_unknown_share_is_refused(name: str, work: Workspace) -> None:
    plan_id = _plan(work).shares[0].partition("/")[0]
    with pytest.raises(StageError, match="there is no share"):
        take(work, name.format(plan=plan_id), now_ns=NOW_NS)


def test_a_plan_of_another_source_is_refused(work: Workspace, tmp_path: Path) -> None:
    share = _plan(work).shares[0]
    other = opened(work.root, inbox(tmp_path / "other inbox"))
    with pytest.raises(StageError, match="another source"):
        take(other, share, now_ns=NOW_NS)


def test_old_plans_are_swept_and_fresh_ones_kept(work: Workspace, source: Path) -> None:
    _plan(work)
    photo(source / "new.png", 700)
    _plan(work)
    old, kept = sorted((work.root / "plans").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    os.utime(old, (NOW_S - KEPT_S - 60, NOW_S - KEPT_S - 60))
    _plan(work, now_s=NOW_S)
    assert list((work.root / "plans").iterdir()) == [kept]


KILLED = """
import os, signal, sys
from pathlib import Path
from faceloop.footage import looking
from faceloop.intake.taking import take
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace
from facestore import intake
from facestore.folderstore import FolderStore
root, share, now_ns, at = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
intake._WAITING_FINDINGS = 2
calls = 0
def die_at(real):
    def wrapped(*args, **kwargs):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return wrapped
looking.probe_apart = die_at(looking.probe_apart)
FolderStore._take_place = die_at(FolderStore._take_place)
intake.Intake.record = die_at(intake.Intake.record)
tree = read_params(Path(sys.argv[5]), sys.argv[6:])
take(open_workspace(Path(root), tree, threads=1, progress=SilentProgress()), share, now_ns=now_ns)
"""


@pytest.mark.integration
@pytest.mark.parametrize("moment", [2, 9])
def test_a_take_killed_in_the_middle_and_made_again_ends_the_same(moment: int, source: Path, tmp_path: Path) -> None:
    """Killed at the n-th probe, stored file or written group of findings."""
    one = ("ingest.link_media=false", "loop.most_tasks=1")
    work = opened(tmp_path / "root", source, *one)
    plan = _plan(work)
    arguments = [str(work.root), plan.shares[0], str(NOW_NS), str(moment), str(ROOT / "params.yaml")]
    command = [sys.executable, "-c", KILLED, *arguments, f"paths.source={source}", *one]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert _take_all(work, plan).counts()["published"] == 7
    fresh = opened(tmp_path / "fresh", source, *one)
    expected = ingest_with_findings(fresh, tmp_path / "alone")[1]
    assert ingest_with_findings(work, tmp_path / "out")[1] == expected
    stored = [
        {p.name: p.read_bytes() for p in (root / "objects").rglob("*") if p.is_file() and p.suffix != ".partial"}
        for root in (work.root, fresh.root)
    ]
    assert stored[0] == stored[1]

"""Bar B4: in = published + rejected + pending, in every run: asked by the runner, by a batch, and by the Dag again."""

import json
from collections import Counter
from functools import wraps
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.chaos.accounting import Accounting, Receipts, account
from tests.chaos.parts import PARTS, fill_pack, pack_workspace

from facedags.results import ResultRefused, parsed
from faceloop.runner import run_stage
from faceloop.stage import Report
from faceloop.stages import ingest, pack
from facestore.errors import StageError
from facestore.ledger import Ledger
from facestore.publish import read_manifest

items = st.sets(st.text("abcdefgh", min_size=1, max_size=3), max_size=12)
books = st.dictionaries(st.sampled_from(("blurred", "small", "unknown")), st.integers(0, 50))


@given(tried=items, kept=items, gone=items, twice=items, extra=items)
def test_the_checker_names_every_item_that_was_lost_doubled_or_made_up(
    tried: set[str], kept: set[str], gone: set[str], twice: set[str], extra: set[str]
) -> None:
    acknowledged = kept & tried
    found = [*(acknowledged - gone), *twice, *extra]
    said = account(attempted=tried, acknowledged=acknowledged, found=found)
    times = Counter(found)
    assert said == Accounting(
        lost=tuple(sorted(acknowledged - times.keys())),
        doubled=tuple(sorted(item for item in times if times[item] > 1)),
        unexpected=tuple(sorted(times.keys() - tried)),
        recovered=tuple(sorted((times.keys() & tried) - acknowledged)),
    )
    assert account(attempted=tried, acknowledged=acknowledged, found=sorted(acknowledged)).is_clean


def test_receipts_are_read_back_as_they_were_written() -> None:
    receipts = Receipts(64)
    for line in ("one", "two\nlines"):
        receipts.write(line)
    assert receipts.lines() == ["one", "two lines"]
    receipts.write("x" * 100)
    assert sum(map(len, receipts.lines())) < 64
    receipts.close()


@given(published=st.integers(0, 99), rejected=books, pending=books, off=st.integers(-3, 3))
def test_a_report_passes_exactly_when_its_books_balance(
    published: int, rejected: dict[str, int], pending: dict[str, int], off: int
) -> None:
    """The stage's own check, and the Dag's of what the command said, agree."""
    report = Report(
        items_in=published + sum(rejected.values()) + sum(pending.values()) + off,
        published=published,
        rejected=Counter(rejected),
        pending=Counter(pending),
    )
    line = json.dumps({"stage": "detect", "state": "published", **report.counts()})
    if off == 0:
        report.check("detect")
        assert parsed(line)["in"] == report.items_in
    else:
        with pytest.raises(StageError, match="items came in"):
            report.check("detect")
        with pytest.raises(ResultRefused, match="lost or doubled"):
            parsed(line)


@pytest.mark.parametrize("rejected", [3, None, {"blurred": "many"}, ["a"]])
def test_counts_that_cannot_be_added_up_are_refused_by_the_dag(rejected: object) -> None:
    with pytest.raises(ResultRefused, match="added up"):
        parsed(json.dumps({"in": 1, "published": 1, "rejected": rejected, "pending": {}}))


@pytest.mark.parametrize("part", ["ingest", "pack"])
def test_a_stage_that_loses_an_item_publishes_nothing(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant drops one item without a word, after a run that lost nothing."""
    module = {"ingest": ingest, "pack": pack}[part]
    real = module.run

    @wraps(real)
    def dropping(**arguments: object) -> Report:
        report: Report = real(**arguments)
        report.published -= 1
        return report

    with PARTS[part](tmp_path / "world") as world:
        with monkeypatch.context() as patch:
            patch.setattr(module, "run", dropping)
            with pytest.raises(StageError, match="nothing was published"):
                world.work(Receipts())
        assert world.found() == []
        assert world.left() == []
        world.work(Receipts())
        assert sorted(world.found()) == sorted(world.wanted)


def test_what_the_ledger_and_the_manifest_say_of_a_run_adds_up(tmp_path: Path) -> None:
    fill_pack(tmp_path)
    work = pack_workspace(tmp_path)
    outcome = run_stage(work, "pack")
    again = run_stage(work, "pack")
    ledger = Ledger(work.ledger_url())
    told = ledger.find(outcome.run_key)
    ledger.close()
    manifest = read_manifest(work.path("release"))
    assert told is not None
    assert manifest is not None
    for counts in (told.counts, manifest.counts, again.report.counts()):
        assert isinstance(counts, dict)
        Report.from_counts(counts).check("pack")
    assert again.was_published_before

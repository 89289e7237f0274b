"""ingest with findings of earlier runs: the same tables, and only what is new is looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faceloop.footage.looking import basis_of
from faceloop.footage.probe import CaptureSpec
from facestore.findings import location_now
from facestore.ids import file_sha256
from facestore.sources import Location, Source

from .intake_world import aged, inbox, ingest_with_findings, opened, photo


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return inbox(tmp_path / "inbox")


@contextmanager
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files that were hashed."""
    names: list[str] = []

    def counting(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    with monkeypatch.context() as patch:
        patch.setattr("faceloop.footage.looking.file_sha256", counting)
        yield names


def test_tables_are_the_same_bytes_with_findings_and_without(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(tmp_path / "root", source)
    with hashed(monkeypatch) as names:
        first, expected, _ = ingest_with_findings(work, tmp_path / "first")
        assert len(names) == 9  # all but the empty one
        names.clear()
        second, known, _ = ingest_with_findings(work, tmp_path / "second")
        assert names == []
        third, again, _ = ingest_with_findings(work, tmp_path / "third", is_trusted=False)
        assert len(names) == 9
    assert known == expected
    assert again == expected
    assert first.counts() == second.counts() == third.counts()
    assert first.counts()["rejected"] == {"corrupt_media": 1, "empty_file": 1, "not_media": 1}


def test_one_new_file_among_known_ones_is_the_only_one_that_is_looked_at(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(tmp_path / "root", source)
    ingest_with_findings(work, tmp_path / "first")
    photo(source / "new.png", 700)
    with hashed(monkeypatch) as names:
        report, grown, _ = ingest_with_findings(work, tmp_path / "second")
    assert names == ["new.png"]
    assert report.published == 8
    assert grown == ingest_with_findings(opened(tmp_path / "fresh", source), tmp_path / "third")[1]


def test_a_changed_file_is_looked_at_and_a_gone_one_is_gone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(tmp_path / "root", source)
    ingest_with_findings(work, tmp_path / "first")
    aged(photo(source / "cam 0" / "0.png", 900), by_s=50)
    (source / "cam 1" / "1.png").unlink()
    with hashed(monkeypatch) as names:
        _, now, _ = ingest_with_findings(work, tmp_path / "second")
    assert names == ["0.png"]
    assert now == ingest_with_findings(opened(tmp_path / "fresh", source), tmp_path / "third")[1]


def test_what_the_source_manifest_says_counts_for_known_footage_too(source: Path, tmp_path: Path) -> None:
    work = opened(tmp_path / "root", source)
    before = ingest_with_findings(work, tmp_path / "first")[1]
    (source / "sources.csv").write_text("path,subset\ncam 0/0.png,gate\n")
    after = ingest_with_findings(work, tmp_path / "second")[1]
    assert after != before
    assert after == ingest_with_findings(opened(tmp_path / "fresh", source), tmp_path / "third")[1]


def test_another_capture_spec_or_object_store_has_findings_of_its_own(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_with_findings(opened(tmp_path / "root", source), tmp_path / "first")
    for number, override in enumerate(("ingest.min_height_px=20", "ingest.max_pixels=100", "paths.objects=elsewhere")):
        with hashed(monkeypatch) as names:
            ingest_with_findings(opened(tmp_path / "root", source, override), tmp_path / f"other {number}")
        assert len(names) == 9, override
    assert len(list((tmp_path / "root" / "elsewhere").rglob("*/*/*"))) == 6


def test_a_basis_names_every_field_of_the_spec() -> None:
    spec = CaptureSpec(min_height_px=1, min_fps=2.0, max_pixels=3)
    others = [
        CaptureSpec(min_height_px=2, min_fps=2.0, max_pixels=3),
        CaptureSpec(min_height_px=1, min_fps=3.0, max_pixels=3),
        CaptureSpec(min_height_px=1, min_fps=2.0, max_pixels=4),
    ]
    assert len({basis_of(each) for each in (spec, *others)}) == 4


def test_a_file_that_was_written_just_now_is_taken_and_looked_at_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(tmp_path / "root", source)
    aged(source / "again.png", by_s=1)
    ingest_with_findings(work, tmp_path / "first")
    with hashed(monkeypatch) as names:
        report, _, _ = ingest_with_findings(work, tmp_path / "second")
    assert names == ["again.png"]
    assert report.published == 7


def test_a_file_that_changes_while_it_is_looked_at_waits_and_is_not_remembered(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(tmp_path / "root", source)

    def growing(at_source: Source, location: Location) -> Location | None:
        if location.path == "again.png":
            with (source / location.path).open("ab") as file:
                file.write(b"more")
        return location_now(at_source, location)

    with monkeypatch.context() as patch:
        patch.setattr("faceloop.stages.ingest.location_now", growing)
        report, _, _ = ingest_with_findings(work, tmp_path / "first")
    assert report.pending == {"still_arriving": 1}
    aged(source / "again.png")
    with hashed(monkeypatch) as names:
        report, _, _ = ingest_with_findings(work, tmp_path / "second")
    assert names == ["again.png"]
    assert report.pending == {}


def test_a_file_that_cannot_be_read_is_tried_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(path: Path) -> str:
        if path.name == "again.png":
            raise PermissionError(13, "Permission denied")
        return file_sha256(path)

    work = opened(tmp_path / "root", source)
    with monkeypatch.context() as patch:
        patch.setattr("faceloop.footage.looking.file_sha256", refusing)
        assert ingest_with_findings(work, tmp_path / "first")[0].rejected["unreadable"] == 1
    report, _, _ = ingest_with_findings(work, tmp_path / "second")
    assert (report.published, report.rejected["unreadable"]) == (7, 0)

"""`run ingest` remembers what it found, and with --again trusts nothing of it."""

import shutil
from pathlib import Path

import pytest

from faceloop.runner import run_stage
from facestore.ids import file_sha256

from .intake_world import inbox, opened, photo, tables


def test_a_run_hashes_what_is_new_and_with_again_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, names = inbox(tmp_path / "inbox"), list[str]()

    def counting(path: Path) -> str:
        names.append(path.name)
        return file_sha256(path)

    monkeypatch.setattr("faceloop.footage.looking.file_sha256", counting)
    work = opened(tmp_path / "root", source)
    run_stage(work, "ingest")
    assert len(names) == 9
    names.clear()
    photo(source / "new.png", 700)
    run_stage(work, "ingest")
    assert names == ["new.png"]
    names.clear()
    grown = tables(work.path("footage"))
    shutil.rmtree(work.root / "objects")
    run_stage(work, "ingest", again=True)
    assert len(names) == 10
    assert tables(work.path("footage")) == grown
    assert len([path for path in (work.root / "objects").rglob("*") if path.is_file()]) == 7

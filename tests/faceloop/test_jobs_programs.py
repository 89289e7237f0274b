"""What jobs run: every record is read, every byte is checked, an exported release is put once."""

import itertools
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceloop.jobs.copy_release import copy_release
from faceloop.jobs.programs import PROGRAMS, RESULT, ended_as_program, read_result
from faceloop.jobs.read_shards import SplitReading, read_shards
from faceloop.jobs.revision import checked_revision, running_revision
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace
from facestore.errors import ConfigError, DataError, ShardCorrupt, StageError
from facestore.publish import MANIFEST, read_manifest

from .release_world import released


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return released(tmp_path / "root")


def _digest(work: Workspace) -> str:
    manifest = read_manifest(work.path("release"))
    assert manifest is not None
    return manifest.digest


def _flip(path: Path, place: int) -> None:
    spoiled = bytearray(path.read_bytes())
    spoiled[place] ^= 1
    path.write_bytes(spoiled)


def _record_place(path: Path, face: bytes) -> int:
    return path.read_bytes().index(face)


def test_every_sample_of_every_shard_is_read(work: Workspace) -> None:
    seconds = itertools.count()
    found = read_shards(
        work.path("release"), _digest(work), clock=lambda: float(next(seconds)), progress=SilentProgress()
    )
    assert found.splits == {
        "train": SplitReading(samples=12, identities=2, classes=2, largest=6),
        "val": SplitReading(samples=6, identities=1, classes=0, largest=6),
        "test": SplitReading(samples=6, identities=1, classes=0, largest=6),
    }
    assert (found.samples, found.shards, found.seconds, found.samples_per_s) == (24, 7, 1.0, 24.0)


def test_a_damaged_record_is_named_with_its_shard(work: Workspace) -> None:
    shard = work.path("release") / "train" / "shard-00001.lmdb"
    _flip(shard, _record_place(shard, b"person-a-5"))
    with pytest.raises(ShardCorrupt, match=r"train/shard-00001\.lmdb.*record 5: bytes do not match"):
        read_shards(work.path("release"), _digest(work), clock=lambda: 0.0, progress=SilentProgress())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_damaged_byte_of_a_shard_goes_unseen(work: Workspace, share: float) -> None:
    shard = work.path("release") / "test" / "shard-00000.lmdb"
    place = int(share * shard.stat().st_size)
    _flip(shard, place)
    try:
        with pytest.raises(ShardCorrupt, match=r"test/shard-00000"):
            read_shards(work.path("release"), _digest(work), clock=lambda: 0.0, progress=SilentProgress())
    finally:
        _flip(shard, place)


def test_another_release_than_the_jobs_is_refused(work: Workspace, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="submit it again"):
        read_shards(work.path("release"), "0" * 64, clock=lambda: 0.0, progress=SilentProgress())
    with pytest.raises(StageError, match="submit it again"):
        copy_release(
            work.path("release"), "0" * 64, tmp_path / "exports", attempt="attempt-1", progress=SilentProgress()
        )


def test_a_release_is_exported_once_and_whole(work: Workspace, tmp_path: Path) -> None:
    exports, digest = tmp_path / "exports", _digest(work)
    (exports / f".{digest}.attempt-0.partial").mkdir(parents=True)  # a killed attempt left it
    first = copy_release(work.path("release"), digest, exports, attempt="attempt-1", progress=SilentProgress())
    assert (first.was_there, first.folder, first.files) == (False, f"exports/{digest}", 11)
    assert [path.name for path in exports.iterdir()] == [digest]
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=exports / digest, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout.count(": OK")) == (0, 11)
    assert (exports / digest / MANIFEST).read_bytes() == (work.path("release") / MANIFEST).read_bytes()
    again = copy_release(work.path("release"), digest, exports, attempt="attempt-2", progress=SilentProgress())
    assert again.was_there
    _flip(exports / digest / "samples.parquet", 8)
    with pytest.raises(DataError, match=r"samples\.parquet"):
        copy_release(work.path("release"), digest, exports, attempt="attempt-3", progress=SilentProgress())


def test_a_damaged_release_is_not_exported(work: Workspace, tmp_path: Path) -> None:
    _flip(work.path("release") / "val" / "shard-00000.lmdb", 5000)
    with pytest.raises(DataError, match=r"val/shard-00000\.lmdb: sha256"):
        copy_release(
            work.path("release"), _digest(work), tmp_path / "exports", attempt="attempt-1", progress=SilentProgress()
        )
    assert not (tmp_path / "exports" / _digest(work)).exists()


def test_a_program_leaves_its_result_or_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended_as_program(lambda: {"samples": 1}, tmp_path / "good") == 0
    assert read_result(tmp_path / "good") == {"samples": 1}

    def corrupt() -> None:
        raise ShardCorrupt("train: record 3; run pack again")

    assert ended_as_program(corrupt, tmp_path / "bad") == 2
    assert capsys.readouterr().err == "train: record 3; run pack again\n"
    with pytest.raises(DataError, match="left no readable"):
        read_result(tmp_path / "bad")
    (tmp_path / "good" / RESULT).write_text(json.dumps("x" * 20_000))
    with pytest.raises(DataError, match="at most"):
        read_result(tmp_path / "good")


def test_the_smoke_job_does_not_call_itself_training() -> None:
    assert {kind: program.name for kind, program in PROGRAMS.items()} == {
        "train": "read_shards",
        "export": "copy_release",
    }


def test_a_job_is_of_the_revision_that_runs() -> None:
    running = "0123456789abcdef" * 2 + "01234567"
    assert checked_revision(None, running) == running
    assert checked_revision("01234567", running) == running
    assert checked_revision("fedcba98", None) == "fedcba98"
    assert checked_revision(None, None) is None
    with pytest.raises(ConfigError, match=f"fedcba98.*{running}"):
        checked_revision("fedcba98", running)
    with pytest.raises(ConfigError, match="hex digits"):
        checked_revision("main", running)
    assert running_revision({"FACELOOP_REVISION": "abc"}) == "abc"

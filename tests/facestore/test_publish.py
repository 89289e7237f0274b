"""Publication: whole or not at all, whatever moment a crash picks."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facestore.errors import DataError, StageError, StoreError
from facestore.publish import (
    MANIFEST,
    fresh_partial,
    is_intact,
    partial_path,
    publish,
    put_in_place,
    read_manifest,
    recover,
    seal,
    verify,
    write_manifest,
    write_whole,
)


def _publish(path: Path, files: dict[str, bytes], run_key: str = "k") -> None:
    staging = fresh_partial(path, keep=False)
    for name, payload in files.items():
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(payload)
    publish(path, stage="detect", run_key=run_key, counts={"in": 1}, inputs={})


def test_half_a_manifest_that_a_kill_left_is_no_file_of_what_is_published(tmp_path: Path) -> None:
    staging = fresh_partial(tmp_path / "faces", keep=True)
    (staging / "t").write_bytes(b"one")
    (staging / f"{MANIFEST}.partial").write_text('{"sta')
    publish(tmp_path / "faces", stage="detect", run_key="k", counts={}, inputs={})
    verify(tmp_path / "faces")


def test_a_published_folder_verifies_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    _publish(path, {"b000/t": b"one", "b001/t": b"two"})
    manifest = read_manifest(path)
    assert manifest is not None
    assert set(manifest.files) == {"b000/t", "b001/t"}
    assert manifest.counts == {"in": 1}
    assert is_intact(path, manifest)
    verify(path)
    assert not partial_path(path).exists()


def test_what_is_only_staged_is_not_there_for_readers(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    (fresh_partial(path, keep=False) / "t").write_bytes(b"half")
    assert read_manifest(path) is None
    _publish(path, {"t": b"old"})
    (fresh_partial(path, keep=False) / "t").write_bytes(b"new")
    assert (path / "t").read_bytes() == b"old"
    verify(path)


def test_a_kill_while_staging_leaves_nothing_behind_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    staging = fresh_partial(path, keep=False)
    (staging / "torn").write_bytes(b"x")
    write_manifest(staging, stage="detect", run_key="k", counts={}, inputs={})
    assert list(fresh_partial(path, keep=True).iterdir())
    assert not list(fresh_partial(path, keep=False).iterdir())


class _Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("survived_renames", [0, 1, 2, 3])
def test_a_crash_between_renames_leaves_one_whole_version(
    survived_renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"old"})
    renames = 0
    real = Path.rename

    def dying(self: Path, target: Path) -> Path:
        nonlocal renames
        if renames == survived_renames:
            raise _Killed
        renames += 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        patch.setattr("facestore.publish.shutil.rmtree", _die if survived_renames == 3 else lambda _: None)
        with pytest.raises(_Killed):
            _publish_staged(path)
    recover(path)
    verify(path)
    assert (path / "t").read_bytes() == (b"new" if survived_renames == 3 else b"old")
    recover(path)  # and recovery may run again
    _publish(path, {"t": b"newest"})
    assert (path / "t").read_bytes() == b"newest"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["faces"]


def _die(_: object) -> None:
    raise _Killed


def _publish_staged(path: Path) -> None:
    partial_path(path).mkdir()
    (partial_path(path) / "t").write_bytes(b"new")
    publish(path, stage="detect", run_key="k2", counts={}, inputs={})


@given(bit=st.integers(0, 10_000), kept=st.integers(0, 10_000), is_cut=st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_or_a_truncation_is_found(bit: int, kept: int, is_cut: bool, tmp_path: Path) -> None:
    path = tmp_path / "faces"
    payload = bytes(range(64))
    _publish(path, {"b000/t": payload})
    spoiled = bytearray(payload)
    if is_cut:
        del spoiled[kept % len(payload) :]
    else:
        spoiled[bit // 8 % len(payload)] ^= 1 << bit % 8
    (path / "b000" / "t").write_bytes(bytes(spoiled))
    with pytest.raises(DataError, match=r"b000/t.*run detect again"):
        verify(path)
    manifest = read_manifest(path)
    assert manifest is not None
    assert is_intact(path, manifest) is not is_cut


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"1", "u": b"2"})
    (path / "u").unlink()
    with pytest.raises(DataError, match="missing"):
        verify(path)


def test_the_digest_is_of_content_and_not_of_the_run(tmp_path: Path) -> None:
    for name, run_key, payload in (("a", "k1", b"x"), ("b", "k2", b"x"), ("c", "k1", b"y")):
        _publish(tmp_path / name, {"t": payload}, run_key)
    a, b, c = (read_manifest(tmp_path / name) for name in "abc")
    assert a is not None and b is not None and c is not None
    assert a.digest == b.digest != c.digest


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"files": []}', '{"files": {"a": 1}}'])
def test_a_spoiled_manifest_is_a_data_error(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match="is not a manifest"):
        read_manifest(tmp_path)


def test_equal_runs_write_equal_manifests(tmp_path: Path) -> None:
    for name in "ab":
        _publish(tmp_path / name, {"z": b"1", "a/b": b"2"})
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()
    assert list(json.loads((tmp_path / "a" / MANIFEST).read_text())["files"]) == ["a/b", "z"]


def test_publishing_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="nothing staged"):
        publish(tmp_path / "faces", stage="detect", run_key="k", counts={}, inputs={})


def _sealed(folder: Path, payload: bytes) -> Path:
    folder.mkdir()
    (folder / "t").write_bytes(payload)
    seal(folder, stage="detect", run_key="k", counts={}, inputs={})
    return folder


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("failing_call", [1, 2, 3, 4])
def test_an_error_of_fsync_is_not_tried_again_and_leaves_nothing_half(
    failing_call: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"old"})
    calls, real = [], os.fsync

    def failing(handle: int) -> None:
        calls.append(handle)
        if len(calls) == failing_call:
            raise OSError(number, os.strerror(number))
        real(handle)

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"cannot publish.*run again"):
        patch.setattr("os.fsync", failing)
        _publish(path, {"t": b"new", "u/v": b"new"})
    assert len(calls) == failing_call
    assert not partial_path(path).exists()
    verify(path)
    assert (path / "t").read_bytes() == b"old"
    _publish(path, {"t": b"newest"})
    assert (path / "t").read_bytes() == b"newest"


def test_the_control_that_tries_fsync_again_believes_that_all_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux does: the error is told once, the page is dropped and marked clean."""
    told: list[Path] = []

    def trying_again(path: Path) -> None:
        if path.name == "t" and path not in told:
            told.append(path)
            path.write_bytes(b"")  # what the disk holds after the error
        # the second fsync succeeds

    monkeypatch.setattr("facestore.publish.sync_path", trying_again)
    _publish(tmp_path / "faces", {"t": b"new"})
    with pytest.raises(DataError):
        verify(tmp_path / "faces")


def test_a_text_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "keys.json"
    write_whole(path, "first\n", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    for call in ("fsync", "open"):
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="cannot write"):
            patch.setattr(f"os.{call}", _no_room)
            write_whole(path, "second\n")
        assert path.read_text() == "first\n"
        assert list(path.parent.iterdir()) == [path]


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@given(bit=st.integers(0, 100_000))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_flipped_bit_of_a_manifest_is_found(bit: int, tmp_path: Path) -> None:
    path = tmp_path / "faces"
    _publish(path, {"b000/t": b"one"})
    written = (path / MANIFEST).read_bytes()
    spoiled = bytearray(written)
    spoiled[bit // 8 % len(written)] ^= 1 << bit % 8
    (path / MANIFEST).write_bytes(bytes(spoiled))
    with pytest.raises(DataError, match="is not a manifest"):
        read_manifest(path)


def test_a_manifest_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"one"})
    body = json.loads((path / MANIFEST).read_text())
    del body["sha256"]
    (path / MANIFEST).write_text(json.dumps(body))
    verify(path)


def test_what_was_taken_away_before_its_turn_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"old"})
    with pytest.raises(FileNotFoundError, match="run the stage again"):
        put_in_place(tmp_path / "swept", path)
    sealed, real = _sealed(tmp_path / "sealed", b"late"), Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == sealed:
            shutil.rmtree(sealed)  # the next holder sweeps at this very moment
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(FileNotFoundError):
        patch.setattr(Path, "rename", rename)
        put_in_place(sealed, path)
    verify(path)
    assert (path / "t").read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["faces"]


def test_the_earlier_version_goes_where_the_caller_says(tmp_path: Path) -> None:
    path = tmp_path / "faces"
    _publish(path, {"t": b"old"})

    def put_aside(old: Path) -> None:
        old.rename(tmp_path / "aside")

    put_in_place(_sealed(tmp_path / "sealed", b"new"), path, aside=put_aside)
    assert (path / "t").read_bytes() == b"new"
    assert (tmp_path / "aside" / "t").read_bytes() == b"old"

"""Bar B9: bits that turn over in shards, crops, indexes and what DVC keeps are found before anything is used.

Mutants: LMDB as it is, and DVC as it is, take what was damaged.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest
from tests.chaos.bitflips import Flip, drawn_flips, flip_bit, flipped

from facestore import lmdbfile
from facestore.crops import CROPS_FILE, CropReader, CropWriter
from facestore.errors import DataError
from facestore.images import encode_jpeg
from facestore.publish import fresh_partial, publish, verify
from facestore.records import ReleaseSample
from facestore.releasechanges import add_tombstones
from facestore.shards import INDEX, SampleLabel, ShardReader, write_shards
from facestore.tables import write_table

IS_LONG = bool(os.environ.get("FACELOOP_LONG"))
SHARD_BITS, CROP_BITS, INDEX_BITS = (80, 50, 40) if IS_LONG else (30, 20, 20)
DVC_BITS = 30
SAMPLES = 30


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a delta, so that every kind of file is there."""
    release = tmp_path_factory.mktemp("b9") / "release"
    staging = fresh_partial(release, keep=False)
    noise = np.random.default_rng(3)
    samples = [
        (
            SampleLabel(face_id=f"f{n}", identity_id=f"p{n % 3}", class_index=n % 3, confidence=0.5, quality=0.5),
            encode_jpeg(noise.integers(0, 255, (112, 112, 3), np.uint8), 60),
        )
        for n in range(SAMPLES)
    ]
    rows = [
        ReleaseSample(
            split="train", shard=f"train/{place.shard}", row=place.row, face_id=label.face_id, footage_id="m",
            identity_id=label.identity_id, class_index=label.class_index, confidence=0.5, quality=0.5,
            sha256=place.sha256,
        )
        for (label, _), place in zip(samples, write_shards(staging / "train", samples, 8), strict=True)
    ]  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, rows)
    (staging / "manifest.json").write_text('{"release":"r1","lineage":{"footage":[]}}')
    publish(release, stage="pack", run_key="k", counts={}, inputs={})
    add_tombstones(release, ["f3", "f17"], "erased")
    return release


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("b9crops") / "crops"
    noise = np.random.default_rng(4)
    with CropWriter(fresh_partial(folder, keep=False) / "b0") as writer:
        for number in range(12):
            writer.put("aligned", f"{number:032x}", noise.integers(0, 255, (112, 112, 3), np.uint8))
            writer.put("context", f"{number:032x}", noise.integers(0, 255, (160, 120, 3), np.uint8))
    publish(folder, stage="detect", run_key="k", counts={}, inputs={})
    return folder


def _digest_of_release(release: Path) -> str:
    """Of all that a reader who was started now gets to see; raises where it finds damage."""
    lmdbfile._checked.clear()  # as in a process of its own
    digest = hashlib.sha256()
    reader = ShardReader(release / "train")
    for row in range(len(reader)):
        label, jpeg = reader.jpeg(row)
        digest.update(f"{label}".encode() + jpeg)
    return digest.hexdigest()


def _found(flip: Flip, release: Path) -> bool:
    with flipped(flip):
        try:
            _digest_of_release(release)
        except DataError:
            return True
    return False


def test_each_bit_of_a_shard_is_found_before_a_record_is_read(release: Path) -> None:
    before = _digest_of_release(release)
    flips = drawn_flips(sorted((release / "train").glob("*.lmdb")), SHARD_BITS, seed=91)
    assert [flip for flip in flips if not _found(flip, release)] == []
    assert _digest_of_release(release) == before


def test_each_bit_of_an_index_and_of_a_delta_is_found(release: Path) -> None:
    files = [release / "train" / INDEX, *(release / "train").glob("tombstones-*.json")]
    flips = drawn_flips(files, INDEX_BITS, seed=92)
    assert [flip for flip in flips if not _found(flip, release)] == []


def _crops_seen(crops: Path) -> list[bytes]:
    lmdbfile._checked.clear()
    reader = CropReader(crops, check="hash")
    seen = [reader.jpeg(kind, f"b0/{number:032x}") for number in range(12) for kind in ("aligned", "context")]
    reader.close()
    return seen


def test_each_bit_of_a_crop_store_is_found(crops: Path) -> None:
    good = _crops_seen(crops)
    missed = []
    for flip in drawn_flips([crops / "b0" / CROPS_FILE], CROP_BITS, seed=93):
        with flipped(flip):
            with pytest.raises(DataError):
                verify(crops)
            try:
                _crops_seen(crops)
                missed.append(flip)
            except DataError:
                pass
    assert missed == []
    assert _crops_seen(crops) == good


def test_who_reads_single_crops_never_gets_a_wrong_one(crops: Path) -> None:
    """Without the hash of the file: its pages and the hash of the record stand for what is read."""
    for flip in drawn_flips([crops / "b0" / CROPS_FILE], CROP_BITS, seed=94):
        good = CropReader(crops).jpeg("aligned", f"b0/{3:032x}")
        with flipped(flip):
            lmdbfile._checked.clear()
            try:
                assert CropReader(crops).jpeg("aligned", f"b0/{3:032x}") == good
            except DataError:
                continue


def _plainly_read(path: Path) -> bytes:
    """The mutant: what LMDB gives, without a hash."""
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as env, env.begin() as txn:
        found = b""
        for _, record in txn.cursor():
            (length,) = struct.unpack_from("<I", record, 32)
            found += record[36 + length :]
        return found


def test_mutant_a_plain_read_of_lmdb_takes_damaged_pictures(release: Path, tmp_path: Path) -> None:
    shard = Path(shutil.copy(release / "train/shard-00001.lmdb", tmp_path / "a.lmdb"))
    good = _plainly_read(shard)
    place = shard.read_bytes().index(good[:600])
    taken = 0
    for bit in range(8 * (place + 200), 8 * (place + 600), 331):
        flip_bit(shard, bit)
        taken += _plainly_read(shard) != good
        flip_bit(shard, bit)
    assert taken == len(range(8 * (place + 200), 8 * (place + 600), 331))


def _dvc(folder: Path, *arguments: str) -> int:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, check=False
    ).returncode


@pytest.fixture
def tracked(tmp_path: Path, release: Path) -> Iterator[Path]:
    """A release that was pushed to a DVC remote, and is gone here."""
    if not IS_LONG:
        pytest.skip("DVC takes half a minute; `make chaos` runs it")
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copytree(release, folder / "release")
    for step in (
        ("init", "--no-scm", "-q"),
        ("remote", "add", "-d", "store", str(tmp_path / "remote")),
        ("add", "-q", "release"),
        ("push", "-q"),
    ):
        assert _dvc(folder, *step) == 0
    shutil.rmtree(folder / "release")
    shutil.rmtree(folder / ".dvc/cache")
    yield folder


def _spoil_remote(folder: Path) -> list[Path]:
    objects = [path for path in sorted((folder.parent / "remote").rglob("*")) if path.is_file()]
    spoilt = [path for path in objects if not path.name.endswith(".dir")]
    for path in spoilt:
        path.chmod(0o644)
        flip_bit(path, 8 * (path.stat().st_size // 2))
    return spoilt


@pytest.mark.integration
def test_dvc_with_verify_takes_no_damaged_object(tracked: Path) -> None:
    assert _dvc(tracked, "remote", "modify", "store", "verify", "true") == 0
    spoilt = _spoil_remote(tracked)
    assert len(spoilt) >= 6
    assert _dvc(tracked, "pull", "-q") != 0
    assert not [path for path in (tracked / "release").rglob("*") if path.is_file()]


@pytest.mark.integration
def test_mutant_dvc_as_it_is_takes_damaged_objects_and_our_own_check_finds_each(tracked: Path) -> None:
    spoilt = _spoil_remote(tracked)
    assert _dvc(tracked, "pull", "-q") == 0
    files = [path for path in (tracked / "release").rglob("*") if path.is_file()]
    assert len(files) == len(spoilt)
    with pytest.raises(DataError):
        verify(tracked / "release")
    with pytest.raises(DataError):
        _digest_of_release(tracked / "release")


@pytest.mark.integration
def test_each_bit_in_what_dvc_checked_out_is_found_by_our_own_check(tracked: Path) -> None:
    assert _dvc(tracked, "pull", "-q") == 0
    release = tracked / "release"
    verify(release)
    files = [path for path in release.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)
    missed = []
    for flip in drawn_flips(files, DVC_BITS, seed=95):
        with flipped(flip):
            try:
                verify(release)
                missed.append(flip)
            except DataError:
                pass
    assert missed == []

"""Shards: what was packed is read back in any process; nothing unfinished or damaged is."""

import json
import multiprocessing
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facestore.errors import ShardCorrupt
from facestore.images import encode_jpeg
from facestore.shards import INDEX, SampleLabel, ShardReader, write_shards

SAMPLES = 7


def _picture(row: int) -> npt.NDArray[np.uint8]:
    return np.full((112, 112, 3), 30 * row, dtype=np.uint8)


def _label(row: int) -> SampleLabel:
    return SampleLabel(face_id=f"f{row}", identity_id=f"p{row % 3}", class_index=row % 3, confidence=0.5, quality=0.25)


def _samples(count: int = SAMPLES) -> Iterator[tuple[SampleLabel, bytes]]:
    return ((_label(row), encode_jpeg(_picture(row), 95)) for row in range(count))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_shards(tmp_path / "train", _samples(), 3)
    return tmp_path / "train"


def _check_rows(reader: ShardReader) -> None:
    for row in range(SAMPLES):
        sample = reader[row]
        assert sample.label == _label(row)
        assert sample.image_rgb.shape == (112, 112, 3)
        assert abs(int(sample.image_rgb.mean()) - 30 * row) <= 2


def test_every_sample_comes_back_with_its_label(split: Path) -> None:
    reader = ShardReader(split, verify_files=True)
    assert len(reader) == SAMPLES
    _check_rows(reader)
    assert [sample.label.face_id for sample in reader.__getitems__([6, 0, 6])] == ["f6", "f0", "f6"]
    assert sorted(path.name for path in split.iterdir()) == [INDEX, *(f"shard-0000{n}.lmdb" for n in range(3))]


@pytest.mark.parametrize("row", [-1, SAMPLES, 10**6])
def test_a_row_outside_of_the_split_is_an_index_error(row: int, split: Path) -> None:
    with pytest.raises(IndexError):
        ShardReader(split)[row]


def test_where_a_sample_went_is_told_with_its_hash(tmp_path: Path) -> None:
    written = write_shards(tmp_path, _samples(), 3)
    assert [(w.shard[-6:-5], w.row) for w in written] == [
        ("0", 0),
        ("0", 1),
        ("0", 2),
        ("1", 3),
        ("1", 4),
        ("1", 5),
        ("2", 6),
    ]
    assert len({w.sha256 for w in written}) == SAMPLES


def test_equal_samples_give_equal_shards(tmp_path: Path) -> None:
    for name in "ab":
        write_shards(tmp_path / name, _samples(), 3)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_empty_split_is_a_split(tmp_path: Path) -> None:
    assert write_shards(tmp_path, [], 3) == []
    assert len(ShardReader(tmp_path)) == 0


def test_a_pack_that_broke_off_has_no_index_and_can_be_done_again(split: Path) -> None:
    def breaking() -> Iterator[tuple[SampleLabel, bytes]]:
        yield from _samples(4)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="the disk is full"):
        write_shards(split, breaking(), 3)
    with pytest.raises(ShardCorrupt, match="never finished"):
        ShardReader(split)
    write_shards(split, _samples(), 3)
    _check_rows(ShardReader(split, verify_files=True))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 8192, -1])
def test_a_truncated_shard_is_refused_before_it_is_read(size: int, split: Path) -> None:
    shard = split / "shard-00001.lmdb"
    os.truncate(shard, size if size >= 0 else shard.stat().st_size - 1)
    with pytest.raises(ShardCorrupt, match="shard-00001"):
        ShardReader(split)


@given(place=st.integers(0, 10**7), change=st.integers(1, 255))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_byte_of_a_shard_is_found_before_it_is_read(place: int, change: int, split: Path) -> None:
    shard = split / "shard-00000.lmdb"
    good = shard.read_bytes()
    spoiled = bytearray(good)
    spoiled[place % len(good)] ^= change
    shard.write_bytes(spoiled)
    with pytest.raises(ShardCorrupt, match="sha256"):
        ShardReader(split, verify_files=True)
    shard.write_bytes(good)


def test_a_flipped_byte_of_a_picture_is_found_by_its_record_alone(split: Path) -> None:
    shard = split / "shard-00000.lmdb"
    spoiled = bytearray(shard.read_bytes())
    spoiled[spoiled.index(encode_jpeg(_picture(1), 95)) + 300] ^= 1
    shard.write_bytes(spoiled)
    with pytest.raises(ShardCorrupt, match="sha256"):
        ShardReader(split)[0]
    reader = ShardReader(split, check="size")
    with pytest.raises(ShardCorrupt, match="record 1"):
        reader[1]
    assert reader[0].label == _label(0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 3, "samples": 0, "shards": []}',
        '{"version": 1, "samples": 3, "shards": []}',
        '{"version": 1, "samples": 0, "shards": [{"file": "../x.lmdb", "samples": 0, "bytes": 1, "sha256": ""}]}',
    ],
)
def test_a_wrong_index_is_refused(text: str, split: Path) -> None:
    (split / INDEX).write_text(text)
    with pytest.raises(ShardCorrupt):
        ShardReader(split)


def test_the_index_counts_what_is_there(split: Path) -> None:
    index = json.loads((split / INDEX).read_text())
    assert [entry["samples"] for entry in index["shards"]] == [3, 3, 1]
    assert [entry["bytes"] for entry in index["shards"]] == [
        (split / e["file"]).stat().st_size for e in index["shards"]
    ]


def test_two_readers_of_one_split_work_side_by_side(split: Path) -> None:
    first, second = ShardReader(split), ShardReader(split)
    _check_rows(first)
    _check_rows(second)
    del first
    _check_rows(second)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_what_its_parent_has_open_and_so_does_the_parent(split: Path) -> None:
    reader = ShardReader(split)
    _check_rows(reader)
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                _check_rows(reader)
                _check_rows(ShardReader(split))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    _check_rows(reader)


def _check_and_tell(reader: ShardReader, done: Path) -> None:
    _check_rows(reader)
    done.touch()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_reads_an_opened_reader(split: Path, tmp_path: Path) -> None:
    reader = ShardReader(split)
    _check_rows(reader)
    worker = multiprocessing.get_context("fork").Process(target=_check_and_tell, args=(reader, tmp_path / "done"))
    worker.start()
    worker.join(60)
    assert (worker.exitcode, (tmp_path / "done").is_file()) == (0, True)


def test_a_spawned_worker_reads_an_opened_reader(split: Path, tmp_path: Path) -> None:
    """A new interpreter gets the reader by pickle, as a spawned worker of a data loader does."""
    reader = ShardReader(split)
    _check_rows(reader)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        sample = pool.apply(reader.__getitem__, (4,))
    assert sample.label == _label(4)
    np.testing.assert_array_equal(sample.image_rgb, reader[4].image_rgb)
    _check_rows(pickle.loads(pickle.dumps(reader)))  # noqa: S301  # our own bytes

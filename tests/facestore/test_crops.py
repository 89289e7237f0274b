"""Crop stores and the LMDB files below them."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from facestore.crops import CROPS_FILE, CropReader, CropWriter
from facestore.errors import DataError, ShardCorrupt, StoreError
from facestore.images import decode_jpeg, encode_jpeg
from facestore.lmdbfile import COMMIT_RECORDS, LmdbReader, LmdbWriter

GREY = np.full((112, 112, 3), 90, dtype=np.uint8)


def _store(folder: Path, names: list[str]) -> None:
    with CropWriter(folder) as writer:
        for number, name in enumerate(names):
            writer.put("aligned", name, GREY + np.uint8(number))
            writer.put("context", name, np.zeros((40, 60, 3), dtype=np.uint8))


def test_both_pictures_of_a_face_come_back_by_its_key(tmp_path: Path) -> None:
    _store(tmp_path / "b000", ["f0", "f1"])
    _store(tmp_path / "b001", ["f2"])
    reader = CropReader(tmp_path)
    assert int(np.median(reader.image("aligned", "b000/f1"))) == 91
    assert reader.image("context", "b001/f2").shape == (40, 60, 3)
    reader.close()
    assert reader.jpeg("aligned", "b000/f0").startswith(b"\xff\xd8")


def test_colours_survive_the_store(tmp_path: Path) -> None:
    red = np.zeros((112, 112, 3), dtype=np.uint8)
    red[..., 0] = 200
    assert np.abs(decode_jpeg(encode_jpeg(red, 95)).astype(int) - red).max() <= 4


@pytest.mark.parametrize("key", ["b000/f9", "b009/f0", "f0", ""])
def test_a_missing_crop_is_named(key: str, tmp_path: Path) -> None:
    _store(tmp_path / "b000", ["f0"])
    with pytest.raises(ShardCorrupt):
        CropReader(tmp_path).image("aligned", key)


def test_two_readers_of_one_store_work_side_by_side(tmp_path: Path) -> None:
    _store(tmp_path / "b000", ["f0"])
    first, second = CropReader(tmp_path), CropReader(tmp_path)
    assert first.jpeg("aligned", "b000/f0") == second.jpeg("aligned", "b000/f0")
    first.close()
    assert second.jpeg("context", "b000/f0")


def test_a_store_that_was_published_anew_is_opened_anew(tmp_path: Path) -> None:
    _store(tmp_path / "b000", ["f0"])
    before = CropReader(tmp_path)
    assert int(np.median(before.image("aligned", "b000/f0"))) == 90
    _store(tmp_path / "new", ["other", "f0"])
    (tmp_path / "new" / CROPS_FILE).rename(tmp_path / "b000" / CROPS_FILE)
    assert int(np.median(CropReader(tmp_path).image("aligned", "b000/f0"))) == 91
    assert int(np.median(before.image("aligned", "b000/f0"))) == 90


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    _store(tmp_path / "b000", ["f0"])
    path = tmp_path / "b000" / CROPS_FILE
    spoiled = bytearray(path.read_bytes())
    spoiled[spoiled.index(encode_jpeg(GREY, 95)) + 300] ^= 4
    path.write_bytes(spoiled)
    with pytest.raises(ShardCorrupt, match="b000/f0"):
        CropReader(tmp_path).jpeg("aligned", "b000/f0")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_store_is_an_error_and_not_the_end_of_the_process(share: float, tmp_path: Path) -> None:
    _store(tmp_path / "b000", [f"f{n}" for n in range(30)])
    path = tmp_path / "b000" / CROPS_FILE
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(ShardCorrupt, match=r"crops\.lmdb"):
        CropReader(tmp_path).jpeg("aligned", "b000/f29")


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="twice"), LmdbWriter(tmp_path / "x.lmdb") as writer:
        writer.put(b"k", b"1")
        writer.put(b"k", b"2")


def test_an_aborted_writer_leaves_no_records_and_can_start_again(tmp_path: Path) -> None:
    path = tmp_path / "x.lmdb"
    with pytest.raises(RuntimeError), LmdbWriter(path) as writer:
        writer.put(b"k", b"1")
        raise RuntimeError("stop")
    assert len(LmdbReader(path)) == 0
    with LmdbWriter(path) as writer:
        writer.put(b"k", b"2")
    assert LmdbReader(path).get(b"k") == b"2"


def test_many_records_are_read_in_order_of_their_keys(tmp_path: Path) -> None:
    keys = [f"{n:05d}".encode() for n in range(COMMIT_RECORDS + 10)]
    with LmdbWriter(tmp_path / "x.lmdb") as writer:
        for key in reversed(keys):
            writer.put(key, key * 2)
    assert [key for key, _ in LmdbReader(tmp_path / "x.lmdb").items()] == keys


@pytest.mark.parametrize("payload", [b"", b"\xff\xd8\xff", b"<html>", bytes(200)])
def test_what_is_no_jpeg_is_a_data_error(payload: bytes) -> None:
    with pytest.raises(DataError, match="not a JPEG"):
        decode_jpeg(payload)


@given(image=arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
@settings(deadline=None, max_examples=25)
def test_a_stored_picture_keeps_its_size_and_carries_no_metadata(image: NDArray[np.uint8]) -> None:
    payload = encode_jpeg(image, 90)
    assert decode_jpeg(payload).shape == image.shape
    assert b"\xff\xe1" not in payload[:200]  # no APP1 segment, where EXIF lives
    assert b"Exif" not in payload

"""Memory of batches: used again when nobody looks any more, gone after a kill; kept pictures are the same pictures."""

import gc
import multiprocessing
import os
import pickle
import signal
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.training.reading.augmentation_profile import read_profile
from faceloop.training.reading.batches import Batch, KeepDecoded, TrainReader, worker_faults
from faceloop.training.reading.decoded import DecodedPictures
from faceloop.training.reading.order import Shuffled
from faceloop.training.reading.ring import PICTURE_BYTES, Ring
from faceloop.training.reading.shared_room import SharedRoom
from facestore.errors import ShardCorrupt, StageError, StoreError

from .reading_world import picture, spoil, write_split

CLASSES = [row % 6 for row in range(40)]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("release") / "train", CLASSES)


def _reader(
    split_dir: Path, *, workers: int = 0, keep: KeepDecoded | None = None, profile: str = "flip"
) -> TrainReader:
    return TrainReader(
        split_dir, batch_size=2, sampler=Shuffled(), augmentation=read_profile(profile), workers=workers, seed=5,
        keep_decoded=keep,
    )  # fmt: skip


def _pixels(batches: list[Batch]) -> list[bytes]:
    return [batch.images.numpy().tobytes() for batch in batches]


@given(moves=st.lists(st.sampled_from(["take", "fill", "drop", "leave"]), max_size=30))
@settings(deadline=None, max_examples=40)
def test_a_block_is_never_given_while_somebody_looks_at_it(moves: list[str]) -> None:
    ring = Ring(blocks=3, pictures=1)
    asked: list[int] = []
    held: dict[int, torch.Tensor] = {}
    for move in moves:
        if move == "take":
            number = ring.take()
            assert (number is None) == (len(asked) + len(held) == 3)
            if number is not None:
                assert number not in held and number not in asked
                asked.append(number)
        elif move == "fill" and asked:
            number = asked.pop(0)
            held[number] = ring.hand_out(number).permute(0, 3, 1, 2)[0, 1]  # a view of a view
        elif move == "drop" and held:
            del held[next(iter(held))]
        elif move == "leave":
            ring.take_back()
            asked.clear()


@pytest.mark.integration
def test_batches_that_are_kept_stay_as_they_are_and_blocks_are_used_again(split: Path) -> None:
    several = _reader(split, workers=1)
    kept = list(several.batches(0))  # more than there are blocks
    later = [part.images.data_ptr() for part in several.batches(1)]
    assert _pixels(kept) == _pixels(list(_reader(split).batches(0)))
    assert len(kept) == len(later) == 20
    del kept
    gc.collect()
    assert len({part.images.data_ptr() for part in several.batches(2)}) < 20
    several.close()


@pytest.mark.integration
@pytest.mark.parametrize(("workers", "rows_kept"), [(0, 40), (1, 40), (0, 13)])
def test_kept_pictures_are_those_that_decoding_gives(workers: int, rows_kept: int, split: Path, tmp_path: Path) -> None:
    keep = KeepDecoded(folder=tmp_path, room_bytes=rows_kept * (PICTURE_BYTES + 4))
    plain, keeping = _reader(split), _reader(split, workers=workers, keep=keep)
    for epoch in range(3):
        assert _pixels(list(keeping.batches(epoch))) == _pixels(list(plain.batches(epoch)))
    assert list(tmp_path.iterdir()) == []
    keeping.close()


def test_what_is_kept_is_not_read_from_the_shards_again(tmp_path: Path) -> None:
    split_dir = write_split(tmp_path / "train", CLASSES)
    keep = KeepDecoded(folder=tmp_path, room_bytes=1 << 30)
    keeping = _reader(split_dir, keep=keep)
    plain = _reader(split_dir)
    seen = _pixels(list(keeping.batches(0)))
    for row in (3, 17):
        spoil(split_dir, row)
    assert _pixels(list(keeping.batches(0))) == seen
    with pytest.raises(ShardCorrupt):
        list(plain.batches(0))


def test_a_kept_picture_that_was_spoilt_does_not_count(tmp_path: Path) -> None:
    decoded = DecodedPictures(tmp_path, samples=3, room_bytes=1 << 20)
    place = np.empty((112, 112, 3), np.uint8)
    assert not decoded.read_into(1, place)
    decoded.keep(1, picture(7))
    decoded.keep(5, picture(8))  # beyond the room: nothing happens
    assert decoded.read_into(1, place) and np.array_equal(place, picture(7))
    assert not decoded.read_into(5, place)
    decoded._room.bytes[PICTURE_BYTES + 100] ^= 1
    assert not decoded.read_into(1, place)


def test_pictures_of_an_encrypted_root_lie_on_the_disk_sealed_and_come_back(tmp_path: Path) -> None:
    def lies_there(*, is_sealed: bool) -> bool:
        """Whether a window of the picture is in the file, and every picture comes back."""
        decoded = DecodedPictures(tmp_path, samples=3, room_bytes=1 << 20, is_sealed=is_sealed)
        noise = np.random.default_rng(5).integers(0, 256, (112, 112, 3), np.uint8)
        place = np.empty((112, 112, 3), np.uint8)
        decoded.keep(1, noise)
        travelled = pickle.loads(ForkingPickler.dumps(decoded)) if is_sealed else decoded  # noqa: S301
        assert travelled.read_into(1, place) and np.array_equal(place, noise)
        assert not decoded.read_into(0, place)
        found = noise.tobytes()[5_000:5_048] in decoded._room.bytes.tobytes()
        decoded._room.bytes[PICTURE_BYTES + 100] ^= 1
        assert not decoded.read_into(1, place)
        return found

    assert not lies_there(is_sealed=True)
    assert lies_there(is_sealed=False)  # the mutant: nobody sealed it


def test_room_that_the_disk_does_not_have_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"lower train.keep_decoded_gib"):
        SharedRoom(1 << 60, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_a_killed_worker_ends_the_reading_with_words(split: Path) -> None:
    before = set(multiprocessing.active_children())
    reader = _reader(split, workers=1)
    batches = reader.batches(0)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    with pytest.raises(StageError, match="a process that reads was killed"), worker_faults():  # torch may raise here
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        for epoch in range(1000):
            list(batches if epoch == 0 else reader.batches(epoch))
    reader.close()


def _read_and_say(split_dir: Path, folder: Path, said: int) -> None:
    reader = _reader(split_dir, workers=1, keep=KeepDecoded(folder=folder, room_bytes=1 << 20))
    batches = reader.batches(0)
    next(batches)
    os.write(said, b"reading")
    signal.pause()


@pytest.mark.integration
def test_nothing_is_left_of_a_reader_that_was_killed(split: Path, tmp_path: Path) -> None:
    heard, said = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=_read_and_say, args=(split, tmp_path, said))
    process.start()
    os.close(said)
    assert os.read(heard, 100) == b"reading"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert os.read(heard, 100) == b""  # the last worker has ended too
    os.close(heard)
    assert list(tmp_path.iterdir()) == []

"""Batches: the same bytes whatever the workers, ranks and place of resuming; nothing damaged or mixed up passes."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceloop.training.reading.augmentation_profile import read_profile
from faceloop.training.reading.batches import Batch, TrainReader
from faceloop.training.reading.order import Balanced, PerIdentity, Sampler, Shuffled
from facestore.errors import ConfigError, DataError, ShardCorrupt
from facestore.images import encode_jpeg
from facestore.records import ReleaseSample
from facestore.shards import SampleLabel, Written, write_shards
from facestore.tables import write_table

from .reading_world import picture, rows_seen, spoil, write_split

CLASSES = [row % 6 for row in range(40)]
SAMPLERS: tuple[Sampler, ...] = (
    Shuffled(),
    Shuffled(buffer_samples=16, run_samples=4),
    Balanced(),
    PerIdentity(samples_per_identity=2),
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_split(tmp_path_factory.mktemp("release") / "train", CLASSES)


def _reader(
    split_dir: Path,
    sampler: Sampler = Shuffled(),
    profile: str = "default",
    *,
    batch_size: int = 8,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    seed: int = 3,
    start_method: Literal["fork", "spawn"] = "fork",
) -> TrainReader:
    return TrainReader(
        split_dir,
        batch_size=batch_size,
        sampler=sampler,
        augmentation=None if profile == "" else read_profile(profile),
        rank=rank,
        world_size=world_size,
        workers=workers,
        seed=seed,
        start_method=start_method,
    )


def _joined(parts: list[Batch]) -> tuple[bytes, list[int], list[float]]:
    images = torch.cat([part.images for part in parts]).contiguous().numpy().tobytes()
    return (
        images,
        torch.cat([part.labels for part in parts]).tolist(),
        torch.cat([part.confidences for part in parts]).tolist(),
    )


def test_a_batch_holds_pictures_and_labels_of_the_same_samples(split: Path) -> None:
    reader = _reader(split, profile="")
    assert (reader.samples, reader.classes, reader.steps_per_epoch) == (40, 6, 5)
    batches = list(reader.batches(0))
    rows = [row for batch in batches for row in rows_seen(batch.images.numpy())]
    assert sorted(rows) == list(range(40))
    for batch in batches:
        shown = rows_seen(batch.images.numpy())
        assert (batch.images.shape, batch.images.dtype) == ((8, 3, 112, 112), torch.uint8)
        assert batch.labels.tolist() == [CLASSES[row] for row in shown]
        torch.testing.assert_close(batch.confidences, torch.tensor([0.5 + row / 1000 for row in shown]))
        assert set(batch.qualities.tolist()) == {0.25}
        assert batch.labels.dtype == torch.int64


@given(
    sampler=st.sampled_from(SAMPLERS),
    world=st.sampled_from([1, 2, 4]),
    epoch=st.integers(0, 3),
    first=st.integers(0, 4),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ranks_together_and_a_resumed_epoch_read_what_one_rank_reads(
    sampler: Sampler, world: int, epoch: int, first: int, seed: int, split: Path
) -> None:
    whole = list(_reader(split, sampler, seed=seed).batches(epoch))[first:]
    ranks = [
        list(_reader(split, sampler, rank=rank, world_size=world, seed=seed).batches(epoch, first))
        for rank in range(world)
    ]
    assert len(whole) == len(ranks[0])
    for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        assert _joined([batch]) == _joined(list(parts))


@pytest.mark.integration
@pytest.mark.parametrize(("workers", "start_method"), [(1, "fork"), (3, "fork"), (1, "spawn")])
def test_workers_read_what_the_process_itself_reads(
    workers: int, start_method: Literal["fork", "spawn"], split: Path
) -> None:
    alone = _reader(split, Balanced())
    several = _reader(split, Balanced(), workers=workers, start_method=start_method)
    numbers = torch.get_rng_state()
    left = several.batches(0)
    next(left)  # and then something else is asked for, as when a training ends an epoch early
    for epoch, first in ((1, 0), (0, 3), (2, 1)):
        assert _joined(list(several.batches(epoch, first))) == _joined(list(alone.batches(epoch, first)))
    assert torch.equal(numbers, torch.get_rng_state())  # a training's own random numbers are left alone
    several.close()


def test_another_seed_or_epoch_varies_pictures_otherwise(tmp_path: Path) -> None:
    split = write_split(tmp_path / "train", [0])
    seen = {
        next(_reader(split, batch_size=1, seed=seed).batches(epoch)).images.numpy().tobytes()
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(seen) == 9


@pytest.mark.integration
@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_record_stops_the_reading_and_is_named(workers: int, tmp_path: Path) -> None:
    split = write_split(tmp_path / "train", CLASSES)
    reader = _reader(split, workers=workers)
    spoil(split, 23)
    with pytest.raises(ShardCorrupt, match=r"^record 23: |shard-00003.lmdb: sha256"):
        list(reader.batches(0))


def _released(tmp_path: Path, classes: list[int]) -> tuple[list[ReleaseSample], list[Written]]:
    samples = [
        (
            SampleLabel(face_id=f"f{row}", identity_id=f"p{index}", class_index=index, confidence=0.5, quality=0.5),
            encode_jpeg(picture(row), 95),
        )
        for row, index in enumerate(classes)
    ]
    written = write_shards(tmp_path / "train", samples, 4)
    rows = [
        ReleaseSample(
            split="train", shard=f"train/{place.shard}", row=place.row, face_id=label.face_id, footage_id="v",
            identity_id=label.identity_id, class_index=label.class_index, confidence=0.5, quality=0.5,
            sha256=place.sha256,
        )
        for place, (label, _) in zip(written, samples, strict=True)
    ]  # fmt: skip
    return rows, written


def test_labels_come_from_the_release_table_where_there_is_one(tmp_path: Path) -> None:
    rows, _ = _released(tmp_path, [0, 1, 2, 0, 1, 2])
    without = _reader(tmp_path / "train", batch_size=6)
    write_table(tmp_path / "samples.parquet", ReleaseSample, [*rows[::-1]])
    assert _joined(list(_reader(tmp_path / "train", batch_size=6).batches(0))) == _joined(list(without.batches(0)))


def test_a_table_of_another_release_is_refused(tmp_path: Path) -> None:
    rows, _ = _released(tmp_path, [0, 1, 2, 0, 1, 2])
    write_table(tmp_path / "samples.parquet", ReleaseSample, rows[:-1])
    with pytest.raises(ShardCorrupt, match=r"6 records in its shards, 5 in samples.parquet"):
        _reader(tmp_path / "train", batch_size=2)
    _released(tmp_path, [2, 1, 0, 0, 1, 2])  # other labels, so other hashes, under the old table
    write_table(tmp_path / "samples.parquet", ReleaseSample, rows)
    with pytest.raises(ShardCorrupt, match=r"record [02]: "):
        list(_reader(tmp_path / "train", batch_size=6).batches(0))


@pytest.mark.parametrize(("classes", "message"), [([], "is empty"), ([0, -1, 1], "1 samples have no class")])
def test_a_split_without_labels_is_refused(classes: list[int], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        _reader(write_split(tmp_path / "train", classes), batch_size=1)


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    label = SampleLabel(face_id="f", identity_id="p", class_index=0, confidence=1.0, quality=1.0)
    write_shards(tmp_path / "train", [(label, encode_jpeg(np.zeros((96, 112, 3), np.uint8), 95))], 4)
    with pytest.raises(ShardCorrupt, match="record 0: no picture of 112"):
        list(_reader(tmp_path / "train", batch_size=1).batches(0))


@pytest.mark.parametrize(
    ("batch_size", "rank", "world_size", "sampler"),
    [
        (7, 0, 2, Shuffled()),
        (8, 2, 2, Shuffled()),
        (0, 0, 1, Shuffled()),
        (8, 0, 4, PerIdentity(samples_per_identity=4)),
    ],
)
def test_a_batch_that_ranks_cannot_share_is_refused(
    batch_size: int, rank: int, world_size: int, sampler: Sampler, split: Path
) -> None:
    with pytest.raises(ConfigError):
        _reader(split, sampler, batch_size=batch_size, rank=rank, world_size=world_size)

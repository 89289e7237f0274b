"""Small train splits whose pictures say which sample they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facestore.images import encode_jpeg
from facestore.shards import SampleLabel, write_shards

LEVELS = 5  # grey levels between two samples


def picture(row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One colour for each row below 2,500, and a light corner by which a flip shows."""
    image = np.empty((112, 112, 3), np.uint8)
    image[:] = (LEVELS * (row % 50), LEVELS * (row // 50), 90)
    image[:24, :24] = 250
    return image


def write_split(split_dir: Path, classes: Sequence[int], *, samples_per_shard: int = 7) -> Path:
    """A split with a sample for every entry of `classes`; without a samples.parquet."""

    def labelled() -> Iterator[tuple[SampleLabel, bytes]]:
        for row, index in enumerate(classes):
            label = SampleLabel(
                face_id=f"f{row}", identity_id=f"p{index}", class_index=index, confidence=0.5 + row / 1000, quality=0.25
            )
            yield label, encode_jpeg(picture(row), 95)

    write_shards(split_dir, labelled(), samples_per_shard)
    return split_dir


def rows_seen(images_nchw: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[int]:
    """Which rows the unaugmented pictures (B, 3, 112, 112) show."""
    colours = np.rint(images_nchw[:, :2, 60:100, 60:100].mean(axis=(2, 3)) / LEVELS).astype(int)
    return (colours[:, 0] + 50 * colours[:, 1]).tolist()  # type: ignore[no-any-return]


def spoil(split_dir: Path, row: int) -> None:
    """Change a bit of a record's JPEG, in the file as readers have it open."""
    for shard in split_dir.glob("shard-*.lmdb"):
        jpeg = encode_jpeg(picture(row), 95)
        shard.write_bytes(shard.read_bytes().replace(jpeg, jpeg[:300] + bytes([jpeg[300] ^ 1]) + jpeg[301:]))

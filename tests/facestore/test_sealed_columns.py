"""Vectors, crops and samples of an encrypted root: read as ever, and not a byte of them lies there as it is."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.facestore.key_world import SealedRoot, sealed_root

from facestore.crops import CropReader, CropWriter
from facestore.errors import ConfigError, KeyShredded, StoreError
from facestore.keys import MARKER
from facestore.records import FaceEmbedding, TrackletTemplate
from facestore.secretkeys import MASTER_KEY
from facestore.shards import SampleLabel, ShardReader, write_shards
from facestore.tables import column_matrix, destroyed_owners, read_columns, read_table, write_table

_TURNED = np.eye(6, 16, dtype=np.float32) + np.float32(0.25)
VECTORS = (_TURNED / np.linalg.norm(_TURNED, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SealedRoot:
    made = sealed_root(tmp_path / "root")
    monkeypatch.setenv(MASTER_KEY, made.environ[MASTER_KEY])
    return made


def _rows() -> list[FaceEmbedding]:
    return [
        FaceEmbedding(
            face_id=f"f{number}",
            tracklet_id=f"t{number // 2}",
            footage_id="footage",
            contract_id="contract",
            embedding=tuple(vector.tolist()),
        )
        for number, vector in enumerate(VECTORS)
    ]


def test_vectors_are_read_as_they_were_written(root: SealedRoot, tmp_path: Path) -> None:
    for place in (root.path, tmp_path / "plain"):
        write_table(place / "embeddings" / "b000" / "faces.parquet", FaceEmbedding, _rows())
    sealed, plain = (
        read_columns(place / "embeddings", "faces", FaceEmbedding) for place in (root.path, tmp_path / "plain")
    )
    assert sealed.schema == plain.schema
    assert sealed.equals(plain)
    assert list(read_table(root.path / "embeddings", "faces", FaceEmbedding)) == _rows()
    only = read_columns(root.path / "embeddings", "faces", FaceEmbedding, ("embedding",))
    assert only.column_names == ["embedding"]
    assert (column_matrix(only, "embedding") == VECTORS).all()


def test_no_vector_lies_in_an_encrypted_root_as_it_is(root: SealedRoot, tmp_path: Path) -> None:
    def holds(place: Path) -> bool:
        path = place / "embeddings" / "b000" / "faces.parquet"
        write_table(path, FaceEmbedding, _rows())
        column = pq.read_table(path, columns=["embedding"], partitioning=None)["embedding"].combine_chunks()
        stored = b"".join(bytes(buffer) for buffer in column.buffers() if buffer is not None)
        return VECTORS[0].tobytes() in stored

    assert not holds(root.path)
    assert holds(tmp_path / "plain")  # the mutant: nobody sealed it


def test_an_empty_table_is_one_in_an_encrypted_root_too(root: SealedRoot) -> None:
    write_table(root.path / "embeddings" / "templates.parquet", TrackletTemplate, [])
    assert read_columns(root.path / "embeddings", "templates", TrackletTemplate).num_rows == 0


def test_equal_runs_give_equal_files(root: SealedRoot) -> None:
    paths = [root.path / "embeddings" / name / "faces.parquet" for name in ("b000", "b001")]
    for path in paths:
        write_table(path, FaceEmbedding, _rows())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_rows_of_destroyed_keys_are_left_out_and_their_owners_named(root: SealedRoot) -> None:
    folder = root.path / "embeddings"
    write_table(folder / "faces.parquet", FaceEmbedding, _rows())
    assert destroyed_owners(folder, "faces", FaceEmbedding) == set()
    root.ring().shred(["f3"])
    assert read_columns(folder, "faces", FaceEmbedding, ("face_id",)).num_rows == 6
    left = [row for row in _rows() if row.face_id != "f3"]
    assert read_columns(folder, "faces", FaceEmbedding)["face_id"].to_pylist() == [row.face_id for row in left]
    assert list(read_table(folder, "faces", FaceEmbedding)) == left
    assert destroyed_owners(folder, "faces", FaceEmbedding) == {"f3"}
    root.ring().shred([f"f{number}" for number in range(6)])
    assert read_columns(folder, "faces", FaceEmbedding).num_rows == 0


def test_keys_that_were_lost_are_not_taken_for_destroyed_ones(root: SealedRoot) -> None:
    """Rows are left out only where keys were destroyed: another key store must not empty a root."""
    folder = root.path / "embeddings"
    write_table(folder / "faces.parquet", FaceEmbedding, _rows())
    with CropWriter(root.path / "crops" / "b000") as writer:
        writer.put("aligned", "f0", np.full((112, 112, 3), 90, dtype=np.uint8))
    root.ring().shred(["f3"])
    (root.path / "keys.sqlite3").rename(root.path / "elsewhere.sqlite3")
    for suffix in ("-wal", "-shm"):
        (root.path / f"keys.sqlite3{suffix}").unlink(missing_ok=True)
    for look in (
        lambda: read_columns(folder, "faces", FaceEmbedding),
        lambda: destroyed_owners(folder, "faces", FaceEmbedding),
        lambda: CropReader(root.path / "crops").shredded("aligned", {"b000/f0"}),
    ):
        with pytest.raises(StoreError, match="not this root's"):
            look()


def test_without_the_keys_vectors_and_crops_are_refused(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(root.path / "embeddings" / "faces.parquet", FaceEmbedding, _rows())
    monkeypatch.delenv(MASTER_KEY)
    with pytest.raises(ConfigError, match=MASTER_KEY):
        read_columns(root.path / "embeddings", "faces", FaceEmbedding)
    (root.path / MARKER).unlink()  # as in a copy elsewhere
    with pytest.raises(StoreError, match="encrypted"):
        read_columns(root.path / "embeddings", "faces", FaceEmbedding)


def test_crops_and_samples_of_an_encrypted_root_come_back(root: SealedRoot) -> None:
    grey = np.full((112, 112, 3), 90, dtype=np.uint8)
    with CropWriter(root.path / "crops" / "b000") as writer:
        for number in range(300):
            writer.put("aligned", f"f{number}", grey)
    reader = CropReader(root.path / "crops")
    jpeg = reader.jpeg("aligned", "b000/f7")
    assert jpeg.startswith(b"\xff\xd8")
    assert all(jpeg[20:60] not in path.read_bytes() for path in root.path.rglob("*") if path.is_file())
    label = SampleLabel(face_id="f7", identity_id="person-1", class_index=0, confidence=1.0, quality=1.0)
    write_shards(root.path / "release" / "train", [(label, jpeg)], 10)
    shards = ShardReader(root.path / "release" / "train")
    assert shards.jpeg(0) == (label, jpeg)
    for _, record in shards.sealed([0]):
        assert bytes(shards.picture_in(record, bytes(record[:32]), 0)) == jpeg
    assert reader.shredded("aligned", {"b000/f7", "b000/f8"}) == set()
    root.ring().shred(["f7"])
    again = CropReader(root.path / "crops")
    assert again.shredded("aligned", {"b000/f7", "b000/f8"}) == {"b000/f7"}
    with pytest.raises(KeyShredded):
        again.jpeg("aligned", "b000/f7")
    with pytest.raises(KeyShredded):
        ShardReader(root.path / "release" / "train").jpeg(0)


def test_a_crop_from_before_its_root_was_encrypted_stays_readable(tmp_path: Path) -> None:
    grey = np.full((112, 112, 3), 90, dtype=np.uint8)
    with CropWriter(tmp_path / "root" / "crops" / "b000") as writer:
        writer.put("aligned", "f0", grey)
    made = sealed_root(tmp_path / "root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MASTER_KEY, made.environ[MASTER_KEY])
        reader = CropReader(tmp_path / "root" / "crops")
        assert reader.shredded("aligned", {"b000/f0"}) == set()
        assert reader.jpeg("aligned", "b000/f0").startswith(b"\xff\xd8")

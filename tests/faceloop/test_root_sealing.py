"""`faceloop keys seal`: what a root held plain before it was encrypted is sealed, and nothing of it is lost."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.facestore.key_world import sealed_root

import faceloop.upkeep.sealing as sealing
from faceloop.export.gallery import Gallery, members_of, plain_gallery
from faceloop.export.gallery_shelf import history_of
from faceloop.promotion.galleries import GalleryRequest, publish_gallery
from faceloop.runner import run_stage
from faceloop.upkeep.sealing import seal_root
from facestore.crops import CropReader
from facestore.errors import ConfigError, DataError
from facestore.keys import open_keyring
from facestore.secretkeys import MASTER_KEY
from facestore.shards import ShardReader

from .contract_world import CONTRACT
from .sealing_world import CROPS, PlainRoot, assert_sealed, copied, plain_root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> PlainRoot:
    return plain_root(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def plain(made: PlainRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlainRoot:
    """A root of its own that was encrypted after it was filled."""
    found = copied(made, tmp_path / "root")
    monkeypatch.setenv(MASTER_KEY, sealed_root(found.work.root).environ[MASTER_KEY])
    return found


def test_nothing_that_can_be_sealed_stays_plain_and_no_stage_runs_again(made: PlainRoot, plain: PlainRoot) -> None:
    work = plain.work
    names = {name.partition("/")[0] for name in plain.held()}
    assert names == {"crops", "embeddings", "release", "galleries", "hard_sets"}
    done = seal_root(work)
    assert (done.folders, done.galleries) == (("crops", "embeddings", "hard_sets/h/v", "release"), 1)
    assert_sealed(plain)
    assert (work.root / "hard_sets" / "h" / "v" / "pairs.html").read_text() == '<img src=""><p>words</p>'
    before, now = CropReader(made.work.path("crops")), CropReader(work.path("crops"))
    assert all(before.jpeg("aligned", f"b000/{name}") == now.jpeg("aligned", f"b000/{name}") for name in CROPS)
    old, new = ShardReader(made.work.path("release") / "train"), ShardReader(work.path("release") / "train")
    assert len(old) == len(new) > 0
    assert [new.jpeg(row) for row in range(len(new))] == [old.jpeg(row) for row in range(len(old))]
    gallery = Gallery(work.root / "galleries" / history_of(work.root)[-1])
    found = gallery.search(np.eye(1, CONTRACT.dimension, dtype=np.float32), contract_id=CONTRACT.contract_id, people=1)
    assert found[0][0].verdict == "match"
    for stage in ("cluster", "identify", "pack"):
        assert run_stage(work, stage).was_published_before, stage
    assert seal_root(work).folders == ()


def test_a_root_that_is_not_encrypted_is_refused(made: PlainRoot) -> None:
    with pytest.raises(ConfigError, match="keys init"):
        seal_root(made.work)


def test_what_nobody_sealed_is_found(plain: PlainRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: crops are copied and not sealed."""
    monkeypatch.setattr(sealing, "has_plain_crops", lambda path: False)
    seal_root(plain.work)
    assert {name.partition("/")[0] for name in plain.held()} == {"crops"}


def test_a_gallery_for_consumers_without_keys_is_that_of_a_plain_root(
    made: PlainRoot, plain: PlainRoot, tmp_path: Path
) -> None:
    seal_root(plain.work)
    published = plain.work.root / "galleries" / history_of(plain.work.root)[-1]
    assert plain_gallery(published, tmp_path / "copy")[:16] == history_of(made.work.root)[-1]
    assert len(Gallery(tmp_path / "copy").identities) == len(Gallery(published).identities)


def test_leftover_rows_of_destroyed_keys_are_left_out_of_every_stage_and_counted(plain: PlainRoot) -> None:
    work = plain.work
    seal_root(work)
    gone = CROPS[:2]
    gallery = work.root / "galleries" / history_of(work.root)[-1]
    rows = len(Gallery(gallery).identities)
    ring = open_keyring(work.root)
    assert ring is not None
    assert ring.shred([*gone, *(f"t{face}" for face in gone)]) == 4
    ring.close()
    cluster, *_ = (run_stage(work, stage, again=True) for stage in ("cluster", "identify"))
    assert cluster.report.rejected["key_destroyed"] == 2
    packed = run_stage(work, "pack", again=True).report
    assert packed.published + packed.rejected.total() + packed.pending.total() == len(CROPS)
    assert packed.pending["unknown_identity"] + packed.rejected["key_destroyed"] >= 2
    done = publish_gallery(work, GalleryRequest(states=["confirmed", "proposed"]))
    assert not members_of(work.root / "galleries" / done.digest[:16]) & set(gone)
    ring = open_keyring(work.root)
    assert ring is not None
    ring.shred(pq.read_table(gallery / "rows.parquet")["best_face_id"].to_pylist()[:1])
    assert len(Gallery(gallery).identities) < rows
    with pytest.raises(DataError, match="erased"):
        plain_gallery(gallery, work.root.parent / "copy")

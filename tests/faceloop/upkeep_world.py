"""A small root made by hand: footage in a store, tables, and a crop store. For tests of verify, repair and sweep."""

from pathlib import Path

import numpy as np

from faceloop.runner import Workspace
from facestore.crops import CropWriter
from facestore.ids import file_sha256, media_key
from facestore.objects import open_store
from facestore.publish import fresh_partial, publish
from facestore.records import Footage
from facestore.tables import write_table

from .runner_world import open_root, tree_of

BATCHES = ("b000", "b001")


def make_root(root: Path, source: Path, *overrides: str, files: int = 6) -> Workspace:
    """A root whose footage is `files` files of random bytes, which it also puts into `source`."""
    work = open_root(root, tree_of(source, *overrides))
    root.mkdir(exist_ok=True)
    source.mkdir(exist_ok=True)
    chooser, store = np.random.default_rng(7), open_store(work.external("objects"), may_link=False)
    records: list[Footage] = []
    for number in range(files):
        path = source / f"clip{number}.mp4"
        path.write_bytes(chooser.bytes(3_000 + number))
        footage_id = file_sha256(path)
        store.put(media_key(footage_id), path)
        records.append(_footage(footage_id, path, BATCHES[number % 2]))
    staging = fresh_partial(work.path("footage"), keep=False)
    for batch in BATCHES:
        write_table(staging / batch / "footage.parquet", Footage, [r for r in records if r.batch == batch])
    publish(work.path("footage"), stage="ingest", run_key="k", counts={"in": files}, inputs={})
    staging = fresh_partial(work.path("crops"), keep=False)
    for batch in BATCHES:
        with CropWriter(staging / batch) as crops:
            for number in range(20):
                crops.put("aligned", f"face{number:03d}", chooser.integers(0, 256, (112, 112, 3), dtype=np.uint8))
    publish(work.path("crops"), stage="detect", run_key="k", counts={"in": files}, inputs={})
    return work


def published_files(work: Workspace) -> list[Path]:
    """Every file of the two artifacts, their manifests too."""
    folders = [work.path(name) for name in ("footage", "crops")]
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def stored_files(work: Workspace) -> list[Path]:
    return [path for path in sorted(Path(work.external("objects")).rglob("*")) if path.is_file()]


def _footage(footage_id: str, path: Path, batch: str) -> Footage:
    return Footage(
        footage_id=footage_id, batch=batch, uri=path.name, locations=(path.name,), size_bytes=path.stat().st_size,
        kind="video", width=64, height=48, rotation=0, fps=25.0, duration_s=1.0, frames=25, codec="h264",
        captured_at=None, source="source", subset="source", consent_id=None, keys=(), flags=(),
    )  # fmt: skip

"""A small root that was made before it was encrypted: crops that are noise, vectors, a release, a gallery, a page."""

import base64
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceloop.erasure.needles import Needles, search, vector_windows, windows_of
from faceloop.promotion.galleries import GalleryRequest, publish_gallery
from faceloop.runner import Workspace, run_stage
from faceloop.upkeep.scope import published_folders
from faceloop.upkeep.sealing import HOME, plain_folders
from faceloop.upkeep.sealing_galleries import plain_galleries
from facestore.crops import CropReader, CropWriter
from facestore.publish import fresh_partial, publish, verify
from facestore.records import FaceEmbedding, TrackletTemplate
from facestore.tables import column_matrix, read_columns

from .contract_world import under_contract
from .mining_world import PERSON, publish_world
from .runner_world import open_root

CROPS = sorted(PERSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainRoot:
    work: Workspace
    needles: Needles  # of every crop and vector

    def held(self) -> list[str]:
        """Files below the root that hold a window of a crop or vector."""
        found = search([self.work.root], self.needles).held
        return [Path(name).relative_to(self.work.root).as_posix() for name in found]


def plain_root(place: Path) -> PlainRoot:
    work = under_contract(lambda: publish_world(place / "root", place / "source"))
    staged = fresh_partial(work.path("crops"), keep=False)
    rng = np.random.default_rng(1)
    with CropWriter(staged / "b000") as crops:
        for name in CROPS:
            crops.put("aligned", name, rng.integers(0, 256, (112, 112, 3), np.uint8))
            crops.put("context", name, rng.integers(0, 256, (64, 64, 3), np.uint8))
    publish(work.path("crops"), stage="detect", run_key="run-detect", counts={}, inputs={})
    run_stage(work, "pack")
    publish_gallery(work, GalleryRequest(states=["confirmed", "proposed"]))
    page = fresh_partial(work.root / "hard_sets" / "h" / "v", keep=False)
    reader = CropReader(work.path("crops"))
    shown = base64.b64encode(reader.jpeg("aligned", f"b000/{CROPS[0]}")).decode()
    (page / "pairs.html").write_text(f'<img src="data:image/jpeg;base64,{shown}"><p>words</p>', encoding="utf-8")
    publish(work.root / "hard_sets" / "h" / "v", stage="mine", run_key="mined", counts={}, inputs={})
    needles = [
        window
        for name in CROPS
        for kind in ("aligned", "context")
        for window in windows_of(reader.jpeg("aligned" if kind == "aligned" else "context", f"b000/{name}"))
    ]
    reader.close()
    folder, column = work.path("embeddings"), ("embedding",)
    faces = read_columns(folder, "faces", FaceEmbedding, column)
    templates = read_columns(folder, "templates", TrackletTemplate, column)
    for table in (faces, templates):
        needles += [window for vector in column_matrix(table, "embedding") for window in vector_windows(vector)]
    return PlainRoot(work=work, needles=Needles(needles))


def assert_sealed(plain: PlainRoot) -> None:
    """Nothing of it lies plain anywhere below the root, and every file is what its manifest says."""
    work = plain.work
    assert plain.held() == []
    assert (plain_folders(work), plain_galleries(work.root)) == ([], [])
    assert not (work.root / HOME).exists()
    for folder in published_folders(work):
        verify(folder)


def copied(plain: PlainRoot, to: Path) -> PlainRoot:
    shutil.copytree(plain.work.root, to)
    return PlainRoot(work=open_root(to, plain.work.tree), needles=plain.needles)

"""A person is erased from a photo that shows somebody else, too: the other stays, also when everything runs anew."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from PIL import Image

from faceloop.decision_tables import export_decisions
from faceloop.erasure.saga import begin, go_on
from faceloop.runner import Workspace, run_stage
from faceloop.upkeep.scope import needed_objects
from facestore.crops import CropReader
from facestore.publish import read_manifest
from facestore.records import MEDIA_ERASED, Face, FaceEmbedding, Footage, Reading, Rejection
from facestore.tables import read_table

from .erasing_world import MEANS, NOW
from .runner_world import open_root, tree_of


def save(path: Path, image: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=92)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, astronaut_rgb: npt.NDArray[np.uint8]) -> Workspace:
    """A photo of two faces through the real stages."""
    folder = tmp_path_factory.mktemp("shared")
    source = folder / "source"
    other = np.ascontiguousarray(cv2.flip(astronaut_rgb, 1))
    save(source / "album" / "both.jpg", np.hstack([astronaut_rgb, other]))
    work = open_root(folder / "root", tree_of(source, "ingest.batches=1"))
    run_all(work)
    return work


def run_all(work: Workspace) -> None:
    for stage in ("ingest", "detect", "embed"):
        run_stage(work, stage)
    export_decisions(work)
    for stage in ("cluster", "identify"):
        run_stage(work, stage)


def faces_of(work: Workspace) -> dict[str, Face]:
    return {face.face_id: face for face in read_table(work.path("faces"), "faces", Face) if face.rejected is None}


def kept_of(work: Workspace, face: Face) -> tuple[bytes, bytes, tuple[float, ...]]:
    """Both crops and the vector of a face."""
    assert face.crop_key is not None
    crops = CropReader(work.path("crops"))
    vectors = {one.face_id: one.embedding for one in read_table(work.path("embeddings"), "faces", FaceEmbedding)}
    return crops.jpeg("aligned", face.crop_key), crops.jpeg("context", face.crop_key), vectors[face.face_id]


def test_others_in_the_footage_of_an_erased_person_stay_when_everything_runs_anew(shared: Workspace) -> None:
    gone, stays = sorted(faces_of(shared).values(), key=lambda face: face.bbox)
    before = kept_of(shared, stays)
    plan = begin(shared, frozenset({gone.face_id}), by="eve", reason="person_asked", clock=lambda: NOW)
    assert plan.shared_footage_ids == (gone.footage_id,)
    go_on(shared, plan.erasure_id, MEANS)
    assert set(faces_of(shared)) == {stays.face_id}

    save(Path(shared.external("source")) / "album" / "cat.jpg", skimage.data.chelsea())  # type: ignore[no-untyped-call]
    for _ in range(2):
        run_all(shared)
        footage = {one.footage_id: one for one in read_table(shared.path("footage"), "footage", Footage)}
        assert len(footage) == 2 and MEDIA_ERASED in footage[gone.footage_id].flags
        assert faces_of(shared)[stays.face_id] == stays
        assert gone.face_id not in faces_of(shared)
        assert kept_of(shared, stays) == before
        readings = {one.footage_id: one for one in read_table(shared.path("faces"), "readings", Reading)}
        assert (readings[gone.footage_id].status, readings[gone.footage_id].faces) == ("read", 1)
    assert f"media/{gone.footage_id[:2]}/{gone.footage_id}" not in (needed_objects(shared) or {})
    for artifact in ("footage", "faces"):
        manifest = read_manifest(shared.path(artifact))
        assert manifest is not None
        counts = manifest.counts
        assert counts["in"] == counts["published"] + sum(counts["rejected"].values())  # type: ignore[operator,union-attr,arg-type]

    shutil.rmtree(shared.path("footage"))  # nothing says any more that others are in it
    run_stage(shared, "ingest")
    refused = list(read_table(shared.path("footage"), "rejections", Rejection))
    assert [(one.item, one.reason) for one in refused] == [("album/both.jpg", "erased")]

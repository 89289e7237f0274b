"""Mining real photos with truth hidden: what a hard set claims is true, and known label errors are not in it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from facestore.records import Face, Footage, HardPair
from facestore.tables import read_columns, read_table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MINED = os.environ.get("FACELOOP_TEST_FACES_DEV_ROOT")  # a published root of the photos, to save the minute

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def _faceloop(*words: str) -> str:
    command = [str(Path(sys.executable).parent / "faceloop"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as one subset: no folder, and so no name, reaches a stage."""
    if MINED is not None:
        return Path(MINED)
    made = tmp_path_factory.mktemp("mined")
    options = [f"paths.source={DATA / 'faces_dev'}", "ingest.subset_from=source", "ingest.link_media=false"]
    settings = [word for option in options for word in ("-S", option)]
    for stage in ("ingest", "detect", "embed"):
        _faceloop("run", stage, "--root", str(made), *settings)
    _faceloop("decisions", "export", "--root", str(made), *settings)
    for stage in ("cluster", "identify"):
        _faceloop("run", stage, "--root", str(made), *settings)
    return made


def test_nine_of_ten_mined_pairs_are_what_they_claim_and_no_label_error_is_a_hard_positive(root: Path) -> None:
    found = json.loads(_faceloop("mine", "--request", '{"name": "acceptance"}', "--root", str(root)).splitlines()[-1])
    assert (found["hard_positives"], found["hard_negatives"]) == (100, 100)
    wrong = set((DATA / "faces_dev_label_errors.txt").read_text(encoding="utf-8").split())
    footage = read_columns(root / "footage", "footage", Footage, ("footage_id", "uri")).to_pylist()
    uri_of = {row["footage_id"]: row["uri"] for row in footage}
    faces = read_columns(root / "faces", "faces", Face, ("face_id", "footage_id")).to_pylist()
    photo_of = {row["face_id"]: uri_of[row["footage_id"]] for row in faces}
    right = {"hard_positive": 0, "hard_negative": 0}
    for pair in read_table(root / found["folder"], "pairs", HardPair):
        photos = photo_of[pair.first_face_id], photo_of[pair.second_face_id]
        is_same = photos[0].split("/")[0] == photos[1].split("/")[0]
        has_error = not wrong.isdisjoint(photos)
        right[pair.kind] += is_same == (pair.kind == "hard_positive") and not has_error
        assert not (has_error and pair.kind == "hard_positive")
    assert right["hard_positive"] >= 90 and right["hard_negative"] >= 90

"""Real photos and real clips, where the development data lies beside the checkout."""

import importlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
from facestore.records import Assignment, Face, Footage
from facestore.tables import read_table

from .migration_world import recogniser_pack

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ERRORS = DATA / "faces_dev_label_errors.txt"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    _flow(DATA / "faces_dev", root, "--truth", "folders", "--truth-except", str(ERRORS))
    return root


def _with_mobilefacenet(photos: Path, folder: Path) -> Path:
    """A root beside that of the photos: the same faces under another recogniser."""
    pack = recogniser_pack(
        folder / "pack", DATA / "weights" / "mobilefacenet_128.onnx", kind="arcface", colour="RGB", mean=127.5, std=128,
        dimension=128,
    )  # fmt: skip
    root = folder / "root"
    root.mkdir()
    for artifact in ("footage", "faces", "crops"):
        (root / artifact).symlink_to(photos / artifact)
    tree = read_params(ROOT / "params.yaml", [f"embed.model.pack={pack}"])
    run_stage(open_workspace(root, tree, threads=2, progress=SilentProgress()), "embed")
    return root


def _flow(source: Path, root: Path, *options: str) -> dict[str, float]:
    command = [str(Path(sys.executable).parent / "faceloop"), "flow", str(source), "--root", str(root), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics: dict[str, float] = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    return metrics


@pytest.mark.parametrize("recogniser", ["sface", "mobilefacenet"])
def test_no_peer_sorts_photos_of_259_people_better_beyond_chance_at_one_setting_for_two_recognisers(
    photos: Path, tmp_path: Path, recogniser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos if recogniser == "sface" else _with_mobilefacenet(photos, tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    benchmark = importlib.import_module("benchmarks.clustering_faces")
    *_, verdicts = benchmark.compare(recogniser, benchmark.read_faces(root, ERRORS), None)
    lines = [line for line in verdicts.split("\n") if line.startswith("- ")]
    assert len(lines) == 8  # held out and all, pairwise and BCubed, peers as tuned and in hindsight
    assert [line for line in lines if "**below**" in line] == []


def test_photos_of_259_people_are_found_and_sorted(photos: Path) -> None:
    metrics = json.loads((photos / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["truth.detection_rate"] >= 0.995
    assert metrics["truth.clusters.faces.pairwise_f"] > 0.985
    assert metrics["truth.clusters.faces.bcubed_f"] > 0.985


def test_clips_of_crowds_and_streets_give_tracklets_and_the_mostly_empty_one_no_identity(tmp_path: Path) -> None:
    _flow(DATA / "video", tmp_path)
    identities = _identities(tmp_path)
    assert identities["intel_one-by-one-person-detection.mp4"] == set()
    assert identities["dlib_MOT20-05.mp4"] == set()
    assert 6 <= len(identities["facenet_pytorch_video.mp4"]) <= 14
    assert 2 <= len(identities["hysts_video00.mp4"]) <= 4


def _identities(root: Path) -> Mapping[str, set[str]]:
    uri_of = {record.footage_id: record.uri for record in read_table(root / "footage", "footage", Footage)}
    name_of = {row.face_id: row.identity_id for row in read_table(root / "assignments", "assignments", Assignment)}
    found: dict[str, set[str]] = defaultdict(set)
    for face in read_table(root / "faces", "faces", Face):
        if (name := name_of.get(face.face_id)) is not None:
            found[uri_of[face.footage_id]].add(name)
    return found

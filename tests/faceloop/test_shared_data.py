"""Real photos and real clips, where the development data lies beside the checkout."""

import importlib.util
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from facestore.records import Assignment, Face, Footage
from facestore.tables import read_table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def _flow(source: Path, root: Path, *options: str) -> dict[str, float]:
    command = [str(Path(sys.executable).parent / "faceloop"), "flow", str(source), "--root", str(root), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics: dict[str, float] = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def _benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clustering_faces", ROOT / "benchmarks" / "clustering_faces.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["clustering_faces"] = module
    spec.loader.exec_module(module)
    return module


def test_photos_of_259_people_are_found_and_sorted_better_than_by_dbscan_and_chinese_whispers(tmp_path: Path) -> None:
    errors = DATA / "faces_dev_label_errors.txt"
    metrics = _flow(DATA / "faces_dev", tmp_path, "--truth", "folders", "--truth-except", str(errors))
    assert metrics["truth.detection_rate"] >= 0.995
    assert metrics["truth.clusters.faces.pairwise_f"] > 0.985
    assert metrics["truth.clusters.faces.bcubed_f"] > 0.985
    benchmark = _benchmark()
    everyone, is_tuning = benchmark.read_faces(tmp_path, errors)
    tuned = {
        method: benchmark.best(outcomes).setting
        for method, outcomes in benchmark.sweep_peers(everyone.at(is_tuning)).items()
    }
    held_out = everyone.at(~is_tuning)
    for faces, method, is_in_hindsight in (
        (everyone, "DBSCAN", True),
        (everyone, "Chinese whispers", True),
        (held_out, "DBSCAN", True),
        (held_out, "Chinese whispers", False),  # as ours: its threshold comes from the tuning half
    ):
        ours = benchmark.score_partition(benchmark.ours(faces, benchmark.OURS), faces.identity)
        peers = benchmark.sweep_peers(faces)[method]
        as_tuned = next(outcome for outcome in peers if outcome.setting == tuned[method])
        peer = (benchmark.best(peers) if is_in_hindsight else as_tuned).scores
        assert ours.pairwise_f > peer.pairwise_f, method
        assert ours.bcubed_f > peer.bcubed_f, method


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

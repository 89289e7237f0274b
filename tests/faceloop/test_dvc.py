"""One real run of the sample through DVC, and the same footage through the command line: equal to the byte."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from facestore.records import FaceEmbedding, Footage
from facestore.tables import read_columns

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TABLES = ("footage", "faces", "embeddings", "clusters", "assignments")

pytestmark = pytest.mark.integration


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A clean copy of what git tracks, with its own DVC cache."""

    folder: Path

    def dvc(self, *arguments: str) -> str:
        return _run(["dvc", *arguments], self.folder)

    def data(self, name: str) -> Path:
        return self.folder / "data" / name


def _run(command: list[str], cwd: Path) -> str:
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def _parquet(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in TABLES
        for path in sorted((folder / name).rglob("*.parquet"))
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("clone")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "platform", "labeling", "storage"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    clone = Clone(folder=folder)
    clone.dvc("init", "-q")
    clone.dvc("repro", "-q")
    yield clone
    shutil.rmtree(folder, ignore_errors=True)


def test_tables_of_the_command_line_equal_those_of_dvc_to_the_byte(clone: Clone, tmp_path: Path) -> None:
    footage = clone.data("sample-footage")
    _run(["faceloop", "flow", str(footage), "--root", str(tmp_path), "--truth", str(footage / "truth.json")], ROOT)
    by_dvc, by_hand = _parquet(clone.folder / "data"), _parquet(tmp_path)
    assert len(by_dvc) > len(TABLES)
    assert by_dvc.keys() == by_hand.keys()
    assert [name for name in by_dvc if by_dvc[name] != by_hand[name]] == []


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    assert "Running stage" not in clone.dvc("repro")


def test_a_changed_cluster_parameter_runs_cluster_and_what_comes_after(clone: Clone) -> None:
    params = clone.folder / "params.yaml"
    before = params.read_text(encoding="utf-8")
    params.write_text(
        before.replace("  confidence_scale_sigmas: ", "  confidence_scale_sigmas: 1", 1), encoding="utf-8"
    )
    said = clone.dvc("repro")
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    assert ran[:2] == ["cluster", "identify"]
    assert set(ran) <= {
        "cluster",
        "identify",
        "select",
        "pack",
        "train",
        "train_attributes",
        "evaluate",
        "export",
        "report",
    }
    params.write_text(before, encoding="utf-8")


def test_metrics_are_shown(clone: Clone) -> None:
    shown = json.loads(clone.dvc("metrics", "show", "--json"))
    metrics = shown[""]["data"]["data/metrics.json"]["data"]
    assert metrics


def test_after_a_withdrawal_dvc_leaves_the_footage_out_and_then_does_nothing(clone: Clone) -> None:
    root = clone.folder / "data"
    clone.dvc("repro", "pack")  # what other tests here changed
    form = clone.folder / "form.txt"
    form.write_text("signed", encoding="utf-8")
    said = [
        "--subject=album",
        "--controller=Example",
        "--jurisdiction=DE",
        "--category=face_picture",
        "--notice-version=1",
    ]
    said += [f"--notice={form}", f"--evidence={form}", "--method=signed_form"]
    purposes = [f"--purpose={name}" for name in ("recognition", "annotation", "training", "evaluation")]
    _run(["faceloop", "consent", "add", "sample-003", *said, *purposes, "--root", str(root)], clone.folder)
    assert "Running stage" not in clone.dvc("repro", "pack"), "nothing is withheld: nothing changed"
    before = _vectors_of_album(root)
    assert before > 0
    _run(["faceloop", "consent", "withdraw", "sample-003", "--root", str(root)], clone.folder)
    ran = [line.split("'")[1] for line in clone.dvc("repro", "pack").splitlines() if line.startswith("Running stage")]
    assert {"embed", "cluster", "identify", "pack"} <= set(ran)
    assert not {"ingest", "detect"} & set(ran)
    assert _vectors_of_album(root) == 0
    assert "Running stage" not in clone.dvc("repro", "pack")


def _vectors_of_album(root: Path) -> int:
    footage = read_columns(root / "footage", "footage", Footage, ("footage_id", "consent_id")).to_pylist()
    album = {row["footage_id"] for row in footage if row["consent_id"] == "sample-003"}
    vectors = read_columns(root / "embeddings", "faces", FaceEmbedding, ("footage_id",))["footage_id"].to_pylist()
    return sum(footage_id in album for footage_id in vectors)

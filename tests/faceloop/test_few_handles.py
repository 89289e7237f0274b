"""Few files may be open (RLIMIT_NOFILE): no handle leaks; a stage that cannot work says so and publishes nothing."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FACELOOP = Path(sys.executable).with_name("faceloop")
ENOUGH, TOO_FEW = 64, 32
PHOTOS = 80  # more than are enough


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(1)
    for number in range(PHOTOS):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def _ingest(source: Path, root: Path, handles: int) -> "subprocess.CompletedProcess[str]":
    words = [str(FACELOOP), "run", "ingest", "--root", str(root), "-S", f"paths.source={source}"]
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles)),
    )


def test_a_stage_leaks_no_handle(source: Path, tmp_path: Path) -> None:
    done = _ingest(source, tmp_path, ENOUGH)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["in"], said["published"]) == (PHOTOS, PHOTOS)


def test_too_few_handles_are_an_error_and_the_next_run_does_it_all(source: Path, tmp_path: Path) -> None:
    failed = _ingest(source, tmp_path, TOO_FEW)
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "footage").exists()
    done = _ingest(source, tmp_path, ENOUGH)
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["in"], said["published"], said["rejected"]) == (PHOTOS, PHOTOS, {})

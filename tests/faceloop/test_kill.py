"""Kill a run at random moments and run it again: nothing lost, nothing doubled, the same bytes.

`FACELOOP_KILLS` says how often (default 3); `FACELOOP_KILL_FOOTAGE` names another footage folder than the small one.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faceloop.sample.build import build_footage

from .sample_world import with_last_clips

pytestmark = pytest.mark.integration

KILLS = int(os.environ.get("FACELOOP_KILLS", "3"))


def _start(footage: Path, root: Path) -> subprocess.Popen[bytes]:
    faceloop = Path(sys.executable).parent / "faceloop"
    command = [str(faceloop), "flow", str(footage), "--root", str(root), "--truth", str(footage / "truth.json")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _results(root: Path) -> dict[str, bytes]:
    names = ("footage", "faces", "embeddings", "clusters", "assignments", "release")
    tables = [path for name in names for path in sorted((root / name).rglob("*.parquet"))]
    papers = sorted((root / "release").rglob("*.json"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in [*tables, *papers]}


def test_a_run_killed_at_random_moments_and_run_again_ends_the_same(tmp_path: Path) -> None:
    given = os.environ.get("FACELOOP_KILL_FOOTAGE")
    footage = Path(given) if given else tmp_path / "footage"
    if not given:
        build_footage(footage, with_last_clips(2), seed=7)
    start = time.monotonic()
    assert _start(footage, tmp_path / "whole").wait() == 0
    whole_s = time.monotonic() - start
    expected = _results(tmp_path / "whole")
    assert any(name.startswith("release/") for name in expected)
    moments = random.Random(20).choices(range(1000), k=KILLS)
    for moment in moments:
        root = tmp_path / f"killed-{moment}"
        run = _start(footage, root)
        time.sleep(whole_s * moment / 1000)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert _start(footage, root).wait() == 0
        found = _results(root)
        assert found.keys() == expected.keys(), f"killed after {moment / 1000:.0%} of a run"
        assert [name for name in expected if found[name] != expected[name]] == []
        leftovers = [
            path.name for path in root.iterdir() if path.name.endswith((".partial", ".old")) or path.name[0] == "."
        ]
        assert leftovers == []
        shutil.rmtree(root)

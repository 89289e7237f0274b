"""Batches: staged alone, reused where whole, never carried on damaged; killed and run again, the same."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faceloop.runner import Workspace, run_stage
from faceloop.stages import detect
from facestore.errors import StageError
from facestore.publish import read_manifest

from .runner_world import (
    ROOT,
    SMALL,
    counted,
    digests,
    digests_of,
    open_root,
    run_chain,
    tree_of,
)


def test_a_changed_param_of_the_last_step_keeps_the_batches_before_it(
    work: Workspace, face_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch, detect) as detects:
        outcomes = run_chain(open_root(work.root, tree_of(face_source, "embed.duplicate_similarity=0.5")))
    assert detects == []
    assert outcomes["embed"].report.figures["near_duplicates"] > 0


def test_batches_run_alone_are_staged_and_the_full_run_takes_them(
    ingested: Workspace, done: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = sorted(path.name for path in ingested.path("footage").iterdir() if path.is_dir())
    assert len(batches) >= 2
    with counted(monkeypatch, detect) as calls:
        outcome = run_stage(ingested, "detect", batches=[batches[1]])
        assert not outcome.is_published
        assert read_manifest(ingested.path("faces")) is None
        run_stage(ingested, "detect", batches=[batches[1]])
        assert calls == [batches[1]]
        assert run_stage(ingested, "detect").is_published
    assert sorted(calls) == batches
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")


@pytest.mark.parametrize("batch", ["b999", "../footage", "a/b", ""])
def test_an_unknown_batch_is_refused(batch: str, ingested: Workspace) -> None:
    with pytest.raises(StageError, match="has no batch"):
        run_stage(ingested, "detect", batches=[batch])
    with pytest.raises(StageError, match="has no batches"):
        run_stage(ingested, "ingest", batches=[batch])


def test_an_interrupted_run_goes_on_where_it_stopped(
    ingested: Workspace, done: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(call: int) -> None:
        if call == 1:
            raise KeyboardInterrupt

    with counted(monkeypatch, detect, stop) as first, pytest.raises(KeyboardInterrupt):
        run_stage(ingested, "detect")
    assert read_manifest(ingested.path("faces")) is None
    with counted(monkeypatch, detect) as second:
        run_stage(ingested, "detect")
    assert len(first) == 1
    assert not set(first) & set(second)
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")


def test_several_batches_of_one_call_are_counted_together(ingested: Workspace, done: Workspace) -> None:
    batches = sorted(path.name for path in ingested.path("footage").iterdir() if path.is_dir())
    together = run_stage(ingested, "detect", batches=[*batches, batches[0]])
    whole = run_stage(done, "detect").report
    assert not together.is_published
    assert together.report.counts() == whole.counts()
    published = run_stage(done, "detect", batches=batches[:1])
    assert published.was_published_before
    assert published.report.items_in < whole.items_in
    assert run_stage(ingested, "detect").is_published
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")


def test_an_unknown_batch_among_several_stops_the_call_before_work_starts(
    ingested: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(monkeypatch, detect) as calls, pytest.raises(StageError, match="has no batch 'b999'; batches are b0"):
        run_stage(ingested, "detect", batches=["b000", "b999"])
    assert calls == []


KILLED = """
import os, signal, sys
from pathlib import Path
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
import facestore.crops, facestore.publish
def die_when(real, is_time):
    calls = []
    def wrapped(*args, **kwargs):
        calls.append(args)
        if is_time(calls):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return wrapped
if sys.argv[2] == "crop":
    facestore.crops.CropWriter.put = die_when(facestore.crops.CropWriter.put, lambda calls: len(calls) == 4)
else:
    Path.rename = die_when(Path.rename, lambda calls: str(calls[-1][1]) == sys.argv[2])
tree = read_params(Path(sys.argv[3]), sys.argv[4:])
run_stage(open_workspace(Path(sys.argv[1]), tree, threads=2, progress=SilentProgress()), "detect")
"""


@pytest.mark.integration
@pytest.mark.parametrize("place", ["crop", "faces.partial/{batch}", "crops.partial/{batch}", "crops"])
def test_a_killed_run_ends_in_the_same_tables_when_run_again(
    place: str, ingested: Workspace, done: Workspace, face_source: Path
) -> None:
    """Killed at the fourth crop, at the two renames that put a batch on the shelf, at the last that publishes."""
    batch = sorted(path.name for path in ingested.path("footage").iterdir() if path.is_dir())[-1]
    moment = place if place == "crop" else str(ingested.root / place.format(batch=batch))
    command = [sys.executable, "-c", KILLED, str(ingested.root), moment, str(ROOT / "params.yaml")]
    killed = subprocess.run([*command, *SMALL, f"paths.source={face_source}"], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    run_stage(ingested, "detect")
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")
    run_stage(ingested, "embed")
    assert digests(ingested) == digests(done)
    assert [path.name for path in ingested.root.iterdir() if path.name.startswith(".")] == []


def test_a_torn_batch_mark_is_no_mark(ingested: Workspace, done: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def dying(self: Path, target: Path) -> Path:
        if target.name == "_batch.json":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", dying)
        run_stage(ingested, "detect")
    run_stage(ingested, "detect")
    assert digests_of(ingested, "faces", "crops") == digests_of(done, "faces", "crops")


def test_damage_is_not_carried_into_a_new_publication(work: Workspace, face_source: Path, done: Workspace) -> None:
    tables = sorted(work.path("faces").glob("*/faces.parquet"))
    spoiled = bytearray(tables[0].read_bytes())
    spoiled[60] ^= 1
    tables[0].unlink()
    tables[0].write_bytes(spoiled)
    tables[1].unlink()
    run_stage(work, "detect")
    assert digests_of(work, "faces") == digests_of(done, "faces")

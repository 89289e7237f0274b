"""A training that is killed goes on to the same weights; a checkpoint is whole, or it is not there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from faceloop.training.checkpoints import Checkpoint, last_checkpoint, write_checkpoint
from faceloop.training.places import folder_of, mark_finished, sweep_trainings
from faceloop.training.ranks import World

from .training_world import ROOT, TinyReader, are_equal, fit_tiny, params_of, tiny_learner, weights_of


@pytest.mark.integration
def test_a_training_killed_ten_times_ends_at_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    """SIGKILL at random steps and while checkpoints are written; AdamW, dropout, sampled classes, two micro-batches."""
    command = [sys.executable, "-m", "tests.faceloop.training_process", "kill", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["killed"], found["steps"]) == (10, 32)
    assert found["tensors"] > 10
    assert found["different"] == []
    assert found["is_same_curve"]


def _state(step: int) -> Checkpoint:
    shared = {"backbone.weight": torch.full((3,), float(step))}
    return Checkpoint(step=step, shared=shared, rows={"classifier.centres": torch.ones(2, 1, 4)}, facts={"n": step})


def test_two_checkpoints_are_kept_and_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        write_checkpoint(tmp_path, _state(step), World())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000006"]
    newest = last_checkpoint(tmp_path, World())
    assert newest is not None and newest.step == 6 and newest.facts == {"n": 6}
    content = bytearray((tmp_path / "step-00000006" / "shared.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "step-00000006" / "shared.safetensors").write_bytes(content)
    before = last_checkpoint(tmp_path, World())
    assert before is not None and before.step == 4
    assert torch.equal(before.shared["backbone.weight"], torch.full((3,), 4.0))
    (tmp_path / "step-00000004" / "state.json").unlink()
    assert last_checkpoint(tmp_path, World()) is None


def test_what_a_kill_left_half_written_is_written_anew(tmp_path: Path) -> None:
    half = tmp_path / ".step-00000002.partial"
    half.mkdir()
    (half / "shared.safetensors").write_bytes(b"half")
    assert last_checkpoint(tmp_path, World()) is None
    write_checkpoint(tmp_path, _state(2), World())
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_a_training_that_stopped_early_keeps_its_best_weights_through_a_resume(tmp_path: Path) -> None:
    """A stand-in for validation says: the second epoch was the best."""
    tars = iter([0.5, 0.9, 0.7, 0.8, 0.85])
    params = params_of("train.schedule.epochs=9", "train.schedule.patience=2", "train.checkpoint_every=4")

    def told(epochs: int) -> dict[str, torch.Tensor]:
        from faceloop.progress import SilentProgress
        from faceloop.training import fitting
        from faceloop.training.validation import Verification

        class Told:
            def __len__(self) -> int:
                return 1

            def verify(self, *_: object) -> Verification:
                return Verification(tar=next(tars), far=0.1, genuine_pairs=1, impostor_pairs=100)

        def stop(step: int) -> None:
            if step == 4 * epochs:
                raise KeyboardInterrupt

        learner = tiny_learner(params, classes=5)
        reader = TinyReader(classes=5, before_step=stop)
        try:
            fitting.fit(learner, reader, Told(), tmp_path, SilentProgress())  # type: ignore[arg-type]
        except KeyboardInterrupt:
            return {name: value.clone() for name, value in learner.backbone.state_dict().items()}
        return learner.backbone.state_dict()

    after_second_epoch = told(2)
    best = told(99)
    assert list(tars) == [0.85]
    assert are_equal(after_second_epoch, best)


def test_the_place_of_checkpoints_is_beside_the_artifact_and_old_trainings_are_swept(tmp_path: Path) -> None:
    assert folder_of(tmp_path / ".candidate.t7.train" / "whole", "key") == tmp_path / "training" / "key"
    for name in ("done", "left-1", "left-2", "left-3", "mine"):
        (tmp_path / name).mkdir()
    mark_finished(tmp_path / "done")
    mark_finished(tmp_path / "mine")
    sweep_trainings(tmp_path, "mine", kept=2)
    left = {path.name for path in tmp_path.iterdir()}
    assert "mine" in left and "done" not in left and len(left) == 3


def test_a_finished_training_run_again_only_reads_its_last_checkpoint(tmp_path: Path) -> None:
    first = tiny_learner(params_of(), classes=5)
    points = fit_tiny(first, TinyReader(classes=5), tmp_path)
    again = tiny_learner(params_of(), classes=5)

    def refuse(step: int) -> None:
        raise AssertionError(f"step {step} was taken again")

    assert fit_tiny(again, TinyReader(classes=5, before_step=refuse), tmp_path) == points
    assert are_equal(weights_of(first), weights_of(again))

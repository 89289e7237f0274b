"""What was mined weighs more in a training, and nothing else does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from faceloop.params import section
from faceloop.runner import Workspace, run_stage
from faceloop.stages.train import Params
from faceloop.training.reading.batches import TrainReader
from faceloop.training.reading.hard_sets import hard_samples, hard_set_digests, sample_weights
from faceloop.training.reading.order import Shuffled
from facestore.errors import ConfigError, StageError
from facestore.publish import seal
from facestore.records import HardPair
from facestore.tables import write_table

from .training_release import released_to_train

PAIR = HardPair(
    rank=0, kind="hard_negative", first_face_id="person-a-2", second_face_id="person-b-5", first_identity_id="person-a",
    second_identity_id="person-b", first_crop_key="c", second_crop_key="d", similarity=0.4, sigmas=4.0,
    support_sigmas=3.0, ground="apart", review="machine",
)  # fmt: skip
HARD_ROWS = [2, 11]  # six samples of a, then six of b


def _hard_set(folder: Path, *pairs: HardPair, stage: str = "mine") -> str:
    folder.mkdir(parents=True)
    write_table(folder / "pairs.parquet", HardPair, pairs)
    seal(folder, stage=stage, run_key="run", counts={}, inputs={})
    return str(folder)


def _params(work: Workspace) -> Params:
    return section(work.tree, "train", Params)


@pytest.mark.parametrize("label_confidence", [True, False])
def test_a_mined_face_counts_so_many_times_as_much_as_it_would(label_confidence: bool, tmp_path: Path) -> None:
    folder = _hard_set(tmp_path / "hard_sets" / "profiles" / "v1", PAIR)
    values = (f"train.loss.hard_sets=['{folder}']", f"train.loss.label_confidence={str(label_confidence).lower()}")
    work = released_to_train(tmp_path / "root", *values, "train.loss.hard_weight=3.0")
    loss = _params(work).loss
    assert np.flatnonzero(hard_samples(work.path("release"), loss)).tolist() == HARD_ROWS
    found = sample_weights(work.path("release"), loss)
    assert found is not None
    plain = np.array([0.5 + 0.05 * number for number in range(6)] * 2 if label_confidence else [1.0] * 12)
    plain[HARD_ROWS] *= 3.0
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    reader = TrainReader(
        work.path("release") / "train", batch_size=12, sampler=Shuffled(), augmentation=None, weights=found
    )
    (batch,) = reader.batches(0)
    assert sorted(batch.confidences.tolist()) == sorted(torch.from_numpy(found).tolist())


def test_without_a_set_labels_count_as_they_did(tmp_path: Path) -> None:
    work = released_to_train(tmp_path / "root")
    assert sample_weights(work.path("release"), _params(work).loss) is None
    assert hard_set_digests(_params(work).loss) == []


def test_what_was_mined_changes_the_training_and_its_name(tmp_path: Path) -> None:
    tiny = ("train.start=scratch", "train.freeze_batchnorm=false", "train.architecture.dimension=16",
            "train.schedule.epochs=1", "train.workers=0", "train.batch_size=4", "train.device=cpu")  # fmt: skip
    plain = released_to_train(tmp_path / "plain", *tiny)
    folder = _hard_set(tmp_path / "hard_sets" / "profiles" / "v1", PAIR)
    harder = released_to_train(tmp_path / "harder", *tiny, f"train.loss.hard_sets=['{folder}']")
    first, second = run_stage(plain, "train"), run_stage(harder, "train")
    assert first.run_key != second.run_key
    assert second.report.figures["hard_samples"] == 2
    weights = [(work.path("candidate") / "weights.safetensors").read_bytes() for work in (plain, harder)]
    assert weights[0] != weights[1]
    other = _hard_set(tmp_path / "hard_sets" / "profiles" / "v2", replace(PAIR, second_face_id="person-b-4"))
    (tmp_path / "hard_sets" / "profiles" / "v1").rename(tmp_path / "old")
    Path(other).rename(folder)
    assert run_stage(harder, "train").run_key != second.run_key, "the same folder holds another set"


@pytest.mark.parametrize("what", ["missing", "of another stage", "torn"])
def test_a_folder_that_is_no_hard_set_is_refused(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "hard_sets" / "profiles" / "v1"
    if what != "missing":
        _hard_set(folder, PAIR, stage="mine" if what == "torn" else "pack")
    if what == "torn":
        (folder / "pairs.parquet").write_bytes(b"")
    work = released_to_train(tmp_path / "root", f"train.loss.hard_sets=['{folder}']")
    with pytest.raises(ConfigError, match="no whole hard set"):
        hard_set_digests(_params(work).loss)


def test_a_set_that_the_release_holds_nothing_of_is_refused(tmp_path: Path) -> None:
    folder = _hard_set(tmp_path / "hard_sets" / "profiles" / "v1", replace(PAIR, first_face_id="x", second_face_id="y"))
    work = released_to_train(tmp_path / "root", f"train.loss.hard_sets=['{folder}']")
    with pytest.raises(StageError, match="no face of hard set profiles/v1"):
        run_stage(work, "train")

"""The stage `train`, on a small release: a candidate that is a model pack, the same bytes twice, clear refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from faceloop.runner import Workspace, run_stage
from faceloop.training.launching import run_ranks
from faceloop.vision.models import open_recogniser
from faceloop.vision.packs import load_pack
from facestore.errors import ConfigError, StageError
from facestore.shards import ShardReader

from .training_release import PEOPLE, released_to_train

SMALL = (
    "train.start=scratch", "train.batch_size=8", "train.schedule.epochs=1", "train.workers=0", "train.device=cpu",
    "train.freeze_batchnorm=false", "train.architecture.dimension=32",
)  # fmt: skip


def _trained(root: Path, *overrides: str, people: tuple[str, ...] = PEOPLE) -> Workspace:
    work = released_to_train(root, *SMALL, *overrides, people=people)
    run_stage(work, "train")
    return work


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(tmp_path_factory.mktemp("trained")).path("candidate")


def test_a_candidate_is_a_model_pack_and_embeds(candidate: Path) -> None:
    pack = load_pack(str(candidate), accept_licence=None, insightface_root=None)
    assert pack.detector is not None and pack.recogniser is not None
    recogniser = open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=3)
    reader = ShardReader(candidate.parent / "release" / "train")
    found = recogniser.embed(np.stack([reader[row].image_rgb for row in range(4)]))
    assert found.vectors.shape == (4, 32) and found.is_valid.all()


def test_a_candidate_says_what_it_was_made_from(candidate: Path) -> None:
    training = json.loads((candidate / "training.json").read_bytes())
    assert training["release"] == "abc123"
    assert (training["classes"], training["steps"], training["start"]) == (2, 1, "scratch")
    assert training["least_cosine_to_onnx"] >= 0.99999
    assert json.loads((candidate / "classes.json").read_bytes()) == {"identity_ids": ["person-a", "person-b"]}
    assert len((candidate / "curve.jsonl").read_text().splitlines()) >= 1
    assert (candidate / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert str(candidate.parent) not in "".join(
        (candidate / name).read_text() for name in ("training.json", "manifest.json", "README.md")
    )


def test_the_same_training_writes_the_same_bytes(candidate: Path, tmp_path: Path) -> None:
    again = _trained(tmp_path).path("candidate")
    names = {path.name for path in candidate.iterdir()}
    assert names == {path.name for path in again.iterdir()}
    assert [name for name in sorted(names - {"_manifest.json"}) if _differ(candidate / name, again / name)] == []


def _differ(one: Path, other: Path) -> bool:
    return one.read_bytes() != other.read_bytes()


def test_a_next_turn_goes_on_from_the_candidate_with_other_people(candidate: Path, tmp_path: Path) -> None:
    start = tmp_path / "model"
    shutil.copytree(candidate, start)
    people = ("person-b", "person-e", "person-f")
    work = released_to_train(tmp_path / "root", *SMALL, f"train.start={start}", people=people)
    report = run_stage(work, "train").report
    counted = {name: report.figures[f"identities_{name}"] for name in ("kept", "new", "gone")}
    assert counted == {"kept": 1, "new": 2, "gone": 1}


def test_a_candidate_blended_all_the_way_back_is_its_start(candidate: Path, tmp_path: Path) -> None:
    start = tmp_path / "model"
    shutil.copytree(candidate, start)
    overrides = (f"train.start={start}", "train.freeze_batchnorm=true", "train.schedule.epochs=2")
    work = released_to_train(tmp_path / "root", *SMALL, *overrides, "train.blend=0.0")
    run_stage(work, "train")
    found, before = (load_file(folder / "weights.safetensors") for folder in (work.path("candidate"), start))
    assert found.keys() == before.keys()
    assert [name for name, value in before.items() if not torch.equal(value, found[name])] == []


def test_a_blend_with_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scratch is none"):
        _trained(tmp_path, "train.blend=0.5")


def test_a_release_of_one_person_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"1 identities, at least 2"):
        _trained(tmp_path, people=("person-a",))


def test_an_own_profile_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="augmentation"):
        _trained(tmp_path, "train.augmentation=nowhere.json")


def test_a_batch_that_does_not_divide_is_refused_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"multiple of ranks × accumulate"):
        _trained(tmp_path, "train.accumulate=3")


@pytest.mark.integration
def test_a_fault_of_a_rank_ends_the_training_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("no job", encoding="utf-8")
    said: list[str] = []
    with pytest.raises(StageError, match="train: Expecting value"):
        run_ranks(tmp_path, 2, said.append)
    assert said == []

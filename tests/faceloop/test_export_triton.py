"""The Triton repository: versions are added and never removed, a server never sees half of one, nonsense is refused."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceloop.export.triton import current_version, deploy, roll_back, write_repository
from faceloop.export.triton_check import check_repository
from faceloop.export.triton_config import Batching, Instances, Message, as_text, read_config
from faceloop.export.triton_detect import DetectParams
from faceloop.export.triton_models import TritonParams
from facestore.errors import ConfigError, DataError, ModelCorrupt

from .triton_world import ask, builtin_detector, params, tiny_recogniser, write_tiny

MODELS = ("face_align", "face_detect", "face_embed", "face_unit", "faces")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("triton"))


@pytest.fixture
def models(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path / "models")
    return tmp_path / "models"


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_every_config_is_read_by_tritons_own_schema_and_the_repository_holds_together(models: Path) -> None:
    assert check_repository(models) == MODELS
    embed = read_config(models / "face_embed" / "config.pbtxt")
    assert (embed.max_batch_size, list(embed.dynamic_batching.preferred_batch_size)) == (32, [8])
    assert embed.version_policy.latest.num_versions == 2
    assert embed.model_warmup[0].inputs["data"].random_data
    assert "faces" in (models / "README.md").read_text(encoding="utf-8")


def test_equal_models_write_equal_bytes_and_are_written_once(models: Path, tmp_path: Path) -> None:
    assert bytes_of(write_tiny(tmp_path / "twin")) == bytes_of(models)
    before = bytes_of(models)
    write_tiny(tmp_path)
    assert bytes_of(models) == before


def test_a_new_version_keeps_the_one_before_and_counts_for_the_ensemble(models: Path, tmp_path: Path) -> None:
    before = bytes_of(models)
    write_tiny(tmp_path, seed=1)
    after = bytes_of(models)
    versions = {name: content for name, content in before.items() if "/1/" in name}
    assert {name: after[name] for name in versions} == versions
    now = current_version(models)
    assert (now.version, now.before) == (2, 1)
    steps = read_config(models / "faces" / "config.pbtxt").ensemble_scheduling.step
    assert {step.model_version for step in steps} == {2}
    assert read_config(models / "face_embed" / "config.pbtxt").version_policy.latest.num_versions == 2


def test_going_back_serves_the_answers_of_the_version_before(models: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    first = ask(models, picture)
    write_tiny(tmp_path, seed=1)
    second = ask(models, picture)
    assert roll_back(models).version == 1
    again = ask(models, picture)
    assert again["CONTRACT"].tolist() == first["CONTRACT"].tolist() != second["CONTRACT"].tolist()
    assert np.array_equal(again["EMBEDDINGS"], first["EMBEDDINGS"])
    with pytest.raises(DataError, match="knows none before"):
        roll_back(models)


def test_after_going_back_the_next_version_goes_back_to_the_one_that_served(models: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path, seed=1)
    roll_back(models)
    write_tiny(tmp_path, seed=2)
    now = current_version(models)
    assert (now.version, now.before) == (3, 1)
    policy = read_config(models / "face_embed" / "config.pbtxt").version_policy
    assert list(policy.specific.versions) == [1, 3]  # the last two on disk would be 2 and 3
    assert roll_back(models).version == 1


def test_a_version_that_a_crash_left_behind_counts_for_nothing_and_its_number_is_not_used_again(
    models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "face_align" / "1", models / "face_align" / "2")
    assert current_version(models).version == 1
    write_tiny(tmp_path, seed=1)
    assert current_version(models).version == 3


def test_deploying_adds_what_counts_and_deploying_it_again_changes_nothing(models: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    assert deploy(models, live).version == 1
    assert bytes_of(live) == bytes_of(models)
    write_tiny(tmp_path, seed=1)
    done, again = deploy(models, live), deploy(models, live)
    assert (done.version, done.was_there_before, again.version, again.was_there_before) == (2, False, 2, True)


def test_other_tensors_need_a_repository_of_their_own(models: Path, tmp_path: Path) -> None:
    wide = tiny_recogniser(tmp_path, dimension=16)
    before = bytes_of(models)
    with pytest.raises(ConfigError, match="repository of its own"):
        write_repository(models, detector=builtin_detector(), recogniser=wide, params=params())
    assert bytes_of(models) == before


def test_a_foreign_folder_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="no repository of ours"):
        write_tiny(tmp_path)


def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path: Path) -> None:
    detector, tiny = builtin_detector(), tiny_recogniser(tmp_path)
    with pytest.raises(ConfigError, match="take a pack with a YuNet"):
        write_repository(tmp_path / "a", detector=replace(detector, kind="scrfd"), recogniser=tiny, params=params())
    with pytest.raises(ModelCorrupt, match="dynamic batch"):
        fixed = tiny_recogniser(tmp_path, batch=1)
        write_repository(tmp_path / "a", detector=detector, recogniser=fixed, params=params())
    with pytest.raises(ConfigError, match="GPUs only"):
        plan = replace(tiny, plan_path=tiny.onnx_path)
        write_repository(tmp_path / "a", detector=detector, recogniser=plan, params=params())
    with pytest.raises(ConfigError, match="one picture are one request"):
        TritonParams(
            detect=DetectParams(long_side_px=640, min_score=0.7, max_iou=0.3, max_faces=9),
            batching=Batching(largest=8, preferred=(), max_wait_us=0),
            instances=Instances(cpu=1, gpu=0),
        )
    with pytest.raises(ConfigError, match="preferred sizes"):
        Batching(largest=8, preferred=(16,), max_wait_us=0)
    assert not (tmp_path / "a").exists()


def test_a_tensorrt_engine_is_served_on_gpus_in_place_of_the_onnx_file(tmp_path: Path) -> None:
    plan = tmp_path / "engine"
    plan.write_bytes(b"an engine for another machine")
    recogniser = replace(tiny_recogniser(tmp_path), plan_path=plan)
    write_repository(tmp_path / "models", detector=builtin_detector(), recogniser=recogniser, params=params(gpu=2))
    config = read_config(tmp_path / "models" / "face_embed" / "config.pbtxt")
    assert config.platform == "tensorrt_plan"
    assert [(group.kind, group.count) for group in config.instance_group] == [(1, 2)]  # KIND_GPU
    assert (tmp_path / "models" / "face_embed" / "1" / "model.plan").read_bytes() == plan.read_bytes()


def _negative_batch(config: Message) -> None:
    config.max_batch_size = -5


def _other_name(config: Message) -> None:
    config.name = "somebody_else"


def _other_type(config: Message) -> None:
    config.output[0].data_type = 2  # TYPE_UINT8


def _other_shape(config: Message) -> None:
    config.input[0].dims[-1] = 4


def _too_large(config: Message) -> None:
    config.dynamic_batching.preferred_batch_size.append(64)


def _no_such_version(config: Message) -> None:
    config.version_policy.specific.versions.append(9)


def _no_such_model(config: Message) -> None:
    config.ensemble_scheduling.step[0].model_name = "nobody"


def _no_such_tensor(config: Message) -> None:
    config.ensemble_scheduling.step[2].input_map["data"] = "nothing"


def _unserved_step(config: Message) -> None:
    config.ensemble_scheduling.step[2].model_version = 7


@pytest.mark.parametrize(
    ("model", "spoil", "message"),
    [
        ("face_embed", _negative_batch, "max_batch_size is -5"),
        ("face_embed", _too_large, "exceed max_batch_size"),
        ("face_align", _other_name, "the name must be the folder's"),
        ("face_align", _other_type, "the file has"),
        ("face_detect", _other_shape, "the file has"),
        ("face_unit", _no_such_version, "do not lie there"),
        ("faces", _no_such_model, "there is no such model"),
        ("faces", _no_such_tensor, "is fed None"),
        ("faces", _unserved_step, "version 7 is not served"),
        ("faces", _other_type, "is made as"),
    ],
)
def test_a_repository_that_a_server_would_refuse_is_refused_here(
    models: Path, model: str, spoil: Callable[[Message], None], message: str
) -> None:
    path = models / model / "config.pbtxt"
    config = read_config(path)
    spoil(config)
    path.write_text(as_text(config), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        check_repository(models)


def test_a_field_that_triton_does_not_know_and_a_missing_file_are_refused(models: Path) -> None:
    (models / "face_unit" / "1" / "model.onnx").unlink()
    with pytest.raises(DataError, match=r"has no model\.onnx"):
        check_repository(models)
    path = models / "faces" / "config.pbtxt"
    path.write_text(path.read_text(encoding="utf-8") + 'colour: "red"\n', encoding="utf-8")
    with pytest.raises(DataError, match="no config that Triton reads"):
        check_repository(models)

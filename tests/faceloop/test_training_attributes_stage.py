"""The stage `train_attributes` on published tables: files that agree, nothing false without answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from faceloop.params import read_params
from faceloop.runner import run_stage
from faceloop.training.attributes.gathering import clip_answers, clip_vectors, labelled, read_known
from faceloop.training.canonical import to_onnx
from faceloop.vision.sessions import open_session
from facestore.errors import ContractMismatch
from facestore.records import FaceEmbedding
from facestore.tables import read_table, write_table

from .attribute_world import DIMENSION, FACES_EACH, PEOPLE, ROOT, params_of, published
from .migration_world import recogniser_pack


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def attributes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = published(tmp_path_factory.mktemp("attributes"))
    report = run_stage(work, "train_attributes").report
    assert report.published + report.rejected.total() == report.items_in == PEOPLE * FACES_EACH * 2 + PEOPLE * 2
    assert report.figures["face_heads"] == 3 and report.figures["clip_heads"] == 1
    return work.path("attributes")


def test_heads_are_right_about_people_they_never_saw(attributes: Path) -> None:
    metrics = json.loads((attributes / "metrics.json").read_bytes())
    assert metrics["faces.expression.test_people"] >= 5
    assert metrics["faces.expression.accuracy"] > 0.9 > metrics["faces.expression.accuracy.baseline"]
    assert metrics["faces.yaw.mean_absolute_error.high"] < metrics["faces.yaw.mean_absolute_error.baseline"]
    page = (attributes / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64" in page and "people" in page
    assert (attributes / "pictures" / "faces_expression.png").read_bytes().startswith(b"\x89PNG")


def test_the_published_model_says_what_its_index_names(attributes: Path) -> None:
    index = json.loads((attributes / "attributes.json").read_bytes())
    faces, clips = index["sets"]["faces"], index["sets"]["clips"]
    assert index["contract_id"] == "model-1" and index["reason"] is None
    assert [head["name"] for head in faces["heads"]] == ["expression", "state", "yaw"]
    model = open_session((attributes / faces["file"]).read_bytes(), engine="onnxruntime", precision="f32", threads=1)
    smiling = np.zeros((2, DIMENSION), np.float32)
    smiling[:, 0] = 0.9, -0.9
    logits = model.run(smiling)[0]
    assert [faces["heads"][0]["values"][at] for at in logits.argmax(axis=1)] == ["smile", "neutral"]
    clip = open_session((attributes / clips["file"]).read_bytes(), engine="onnxruntime", precision="f32", threads=1)
    assert clip.run(smiling[None])[0].shape == (1, 2)
    assert "outputs.linears.0.weight" in load_file(attributes / "faces.safetensors")


def test_the_same_answers_give_the_same_bytes(attributes: Path, tmp_path: Path) -> None:
    work = published(tmp_path)
    run_stage(work, "train_attributes")
    again = work.path("attributes")
    names = {path.relative_to(attributes) for path in attributes.rglob("*.*") if path.name != "_manifest.json"}
    assert len(names) >= 9
    assert [name for name in names if (attributes / name).read_bytes() != (again / name).read_bytes()] == []


def test_without_an_answer_the_stage_passes_and_publishes_the_reason(tmp_path: Path) -> None:
    work = published(tmp_path, has_answers=False)
    report = run_stage(work, "train_attributes").report
    assert (report.items_in, report.published) == (0, 0)
    index = json.loads((work.path("attributes") / "attributes.json").read_bytes())
    assert index["sets"] == {} and "Nobody has said anything" in index["reason"]
    assert index["untrained"] == {"expression": "no_answers", "state": "no_answers", "yaw": "no_answers"}
    assert not list(work.path("attributes").glob("*.onnx"))


def test_layers_of_the_recogniser_can_learn_too_and_the_model_then_takes_pixels(tmp_path: Path) -> None:
    work = published(
        tmp_path, "train_attributes.backbone.trained_layers=1", "train_attributes.backbone.mix=mixup",
        "train_attributes.backbone.recipe.epochs=1", "train_attributes.clips.attributes=[]",
        f"train_attributes.backbone.pack={_small_pack(tmp_path)}", has_crops=True,
    )  # fmt: skip
    run_stage(work, "train_attributes")
    index = json.loads((work.path("attributes") / "attributes.json").read_bytes())
    assert index["sets"]["faces"]["input"] == "pixels" and "sha256" in index["backbone"]
    model = (work.path("attributes") / "faces.onnx").read_bytes()
    session = open_session(model, engine="onnxruntime", precision="f32", threads=1)
    outputs = session.run(np.zeros((3, 3, 112, 112), np.float32))
    assert [output.shape for output in outputs] == [(3, 2), (3, 2), (3, 1)]


def _small_pack(folder: Path) -> str:
    """A recogniser of one convolution, as a candidate's folder would name it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 8, stride=8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 14 * 14, 8)
        )
    path = folder / "small.onnx"
    path.write_bytes(to_onnx(network))
    return recogniser_pack(
        folder / "pack", path, kind="arcface", colour="RGB", mean=127.5, std=128, dimension=8
    )  # fmt: skip


def test_a_person_is_in_one_split_and_a_stranger_in_none(tmp_path: Path) -> None:
    work = published(tmp_path)
    known = read_known(work.path("faces"), work.path("embeddings"), work.path("assignments"))
    items = labelled(known.answers, params_of())
    splits: dict[str, set[str]] = {}
    for person, split in zip(items.person_ids, items.splits, strict=True):
        splits.setdefault(person, set()).add(split)
    assert len(splits) == PEOPLE and {len(found) for found in splits.values()} == {1}
    assert {split for found in splits.values() for split in found} == {"train", "val", "test"}


def test_a_word_on_any_face_counts_for_its_clip_and_two_words_that_differ_for_none(tmp_path: Path) -> None:
    work = published(tmp_path)
    known = read_known(work.path("faces"), work.path("embeddings"), work.path("assignments"))
    by_state = clip_answers(known, ["state"])
    assert len(by_state.answers) == PEOPLE * 2 and by_state.disagreeing == 0
    by_expression = clip_answers(known, ["expression"])
    assert by_expression.disagreeing + len(by_expression.answers) == PEOPLE * 2 and by_expression.disagreeing > 0
    vectors = clip_vectors(known, ["t-001-1"], most_faces=8)
    places = [known.face_ids.index(face) for face in ("f-001-2", "f-001-3")]
    assert (vectors[0] == known.vectors[places]).all()


def test_the_heads_learn_what_people_may_say() -> None:
    tree = read_params(ROOT / "params.yaml")
    said = {field["name"]: field["values"] for field in tree["review"]["attributes"]}  # type: ignore[index,call-overload,union-attr]
    heads = {head["name"]: head["values"] for head in tree["train_attributes"]["heads"]}  # type: ignore[index,call-overload,union-attr]
    assert heads == said


def test_embeddings_of_two_models_are_never_mixed(tmp_path: Path) -> None:
    work = published(tmp_path)
    rows = list(read_table(work.path("embeddings"), "faces", FaceEmbedding))
    other = FaceEmbedding(
        face_id="x", tracklet_id="t", footage_id="clip", contract_id="model-2", embedding=rows[0].embedding
    )
    write_table(tmp_path / "mixed" / "faces.parquet", FaceEmbedding, [*rows, other])
    with pytest.raises(ContractMismatch, match="2 embedding contracts"):
        read_known(work.path("faces"), tmp_path / "mixed", work.path("assignments"))

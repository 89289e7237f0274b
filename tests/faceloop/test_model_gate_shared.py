"""The gate on real photos, by the real stages: a model that is better but blind in the dark is refused for just that,
the same model without the blindness is promoted, and taken back."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from faceloop.loop_params import LoopParams
from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.promotion.model_gate import failed_model_floors
from faceloop.promotion.model_registry import judge, opened_models, promote_model
from faceloop.runner import Workspace, open_workspace, run_stage
from faceloop.vision.fold import fold_model
from faceloop.vision.packs import load_pack
from facestore.crops import CropReader
from facestore.errors import StageError
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, AttributeLabel, Face, Footage, ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import read_table, write_table

from .evaluation_world import CHEAP
from .migration_world import recogniser_pack
from .runner_world import ROOT

DATA = ROOT.parent / "shared" / "data" / "faces_dev"
PEOPLE, PHOTOS, TRAINED, DARK_PEOPLE = 50, 4, 5, 14
DARK = 0.25  # as the first edge of slices `light`

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def _source(folder: Path) -> Path:
    """Four photos of sixty people; of some, the first is taken by night."""
    rich = [path for path in sorted(DATA.iterdir()) if len(list(path.iterdir())) >= PHOTOS][:PEOPLE]
    for place, person in enumerate(rich):
        (folder / f"{place:02d}").mkdir(parents=True)
        for number, photo in enumerate(sorted(person.iterdir())[:PHOTOS]):
            pixels = cv2.imread(str(photo))
            assert pixels is not None
            if number == 0 and place >= PEOPLE - DARK_PEOPLE:
                pixels = (pixels * 0.3).astype(np.uint8)
            cv2.imwrite(str(folder / f"{place:02d}" / f"{number}.png"), pixels)
    return folder


def _recogniser(folder: Path, *, is_blurred: bool, is_blind_in_the_dark: bool) -> str:
    """SFace; blurred, it sees less of every face; blind, it answers nonsense of its own for each dark picture."""
    spec = load_pack("builtin", accept_licence=None, insightface_root=None).recogniser
    assert spec is not None
    model = onnx.load_model_from_string(fold_model(spec.model_path.read_bytes(), free_axes=("N",)))
    graph = model.graph
    image, vector = graph.input[0].name, graph.output[0].name
    if is_blurred:
        for node in graph.node:
            node.input[:] = ["blurred" if name == image else name for name in node.input]
        graph.node.insert(
            0,
            helper.make_node(
                "AveragePool", [image], ["blurred"], kernel_shape=[11, 11], strides=[1, 1], pads=[5, 5, 5, 5]
            ),
        )
    if is_blind_in_the_dark:
        for node in graph.node:
            node.output[:] = ["seen" if name == vector else name for name in node.output]
        numbers = {"third": np.full((1, 3, 1, 1), 1 / 3), "dark": np.array(255 * DARK), "much": np.array(1000.0)}
        graph.initializer.extend(
            numpy_helper.from_array(value.astype(np.float32), name) for name, value in numbers.items()
        )
        graph.node.extend(
            [
                helper.make_node("AveragePool", [image], ["mean"], kernel_shape=[112, 112]),
                helper.make_node("Conv", ["mean", "third"], ["grey"], kernel_shape=[1, 1]),
                helper.make_node("Flatten", ["grey"], ["light"], axis=1),
                helper.make_node("Less", ["light", "dark"], ["is_dark"]),
                helper.make_node("Mul", ["seen", "much"], ["wild"]),
                helper.make_node("Sin", ["wild"], ["nonsense"]),
                helper.make_node("Where", ["is_dark", "nonsense", "seen"], [vector]),
            ]
        )
    onnx.checker.check_model(model)
    file = folder.with_name(f"{folder.name}.onnx")
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(file))
    return recogniser_pack(folder, file, kind="sface", colour="RGB", mean=0.0, std=1.0, dimension=128)


def _candidate(work: Workspace, *, is_blind_in_the_dark: bool) -> str:
    """Publish a candidate and evaluate it; its digest."""
    staging = fresh_partial(work.path("candidate"), keep=False)
    staging.rmdir()
    _recogniser(staging, is_blurred=False, is_blind_in_the_dark=is_blind_in_the_dark)
    done = publish(work.path("candidate"), stage="train", run_key=str(is_blind_in_the_dark), counts={}, inputs={})
    run_stage(work, "evaluate")
    return done.digest


def _release(work: Workspace) -> None:
    """The largest face of each photo under its folder's name: some people to train on, all others are gold."""
    person = {row.footage_id: row.subset for row in read_table(work.path("footage"), "footage", Footage)}
    largest: dict[str, Face] = {}
    for face in read_table(work.path("faces"), "faces", Face):
        if face.crop_key and face.size_px > (largest[face.footage_id].size_px if face.footage_id in largest else 0):
            largest[face.footage_id] = face
    staging = fresh_partial(work.path("release"), keep=False)
    reader = CropReader(work.path("crops"))
    rows: list[ReleaseSample] = []
    splits: tuple[tuple[Split, range], ...] = (("train", range(TRAINED)), ("test", range(TRAINED, PEOPLE)))
    for split, people in splits:
        faces = [face for key, face in sorted(largest.items()) if int(person[key]) in people]
        labels = [
            SampleLabel(face_id=face.face_id, identity_id=person[face.footage_id], class_index=-1, confidence=1.0,
                        quality=face.quality) for face in faces
        ]  # fmt: skip
        jpegs = (reader.jpeg("aligned", str(face.crop_key)) for face in faces)
        written = write_shards(staging / split, zip(labels, jpegs, strict=True), 4096)
        rows += [
            ReleaseSample(split=split, shard=f"{split}/{place.shard}", row=place.row, face_id=label.face_id,
                          footage_id="", identity_id=label.identity_id, class_index=-1, confidence=1.0,
                          quality=label.quality, sha256=place.sha256)
            for label, place in zip(labels, written, strict=True)
        ]  # fmt: skip
    reader.close()
    write_table(staging / "samples.parquet", ReleaseSample, rows)
    sizes = {
        split: {"identities": len(people), "samples": sum(row.split == split for row in rows)}
        for split, people in splits
    }
    told = {"release": "photos", "lineage": {"footage": []}, "splits": sizes, "tombstones": []}
    (staging / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    publish(work.path("release"), stage="pack", run_key="run", counts={}, inputs={})
    _labels(work, rows)


def _labels(work: Workspace, rows: Sequence[ReleaseSample]) -> None:
    staging = fresh_partial(work.path("assignments"), keep=False)
    labels = [
        Assignment(face_id=row.face_id, identity_id=row.identity_id, state="confirmed", confidence=1.0,
                   source="human", decision_id=None, via=None) for row in rows
    ]  # fmt: skip
    write_table(staging / "assignments.parquet", Assignment, labels)
    write_table(staging / "attributes.parquet", AttributeLabel, [])
    publish(work.path("assignments"), stage="identify", run_key="run", counts={}, inputs={})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("gate")
    current = _recogniser(root / "current", is_blurred=True, is_blind_in_the_dark=False)
    settings = [
        f"paths.source={_source(root / 'source')}",
        "detect.long_side_px=320",
        "detect.detail_long_side_px=320",
        f"embed.model.pack={current}",
        f"evaluate.current.pack={current}",
        "evaluate.splits=[test]",
        "evaluate.fars=[0.1, 0.01]",
        "evaluate.slices.far=0.01",
        "evaluate.slices.pairs=20",
        "evaluate.intervals.replicates=200",
        *CHEAP,
    ]
    made = open_workspace(
        root / "root", read_params(ROOT / "params.yaml", settings), threads=2, progress=SilentProgress()
    )
    for stage in ("ingest", "detect", "embed"):
        run_stage(made, stage)
    _release(made)
    return made


def test_a_better_model_that_fails_in_the_dark_is_refused_for_that_and_without_it_is_promoted_and_taken_back(
    work: Workspace,
) -> None:
    floors = section(work.tree, "loop", LoopParams).model_gate
    blind = _candidate(work, is_blind_in_the_dark=True)
    judged = judge(work, blind)[2]
    failed = failed_model_floors(judged, floors)
    assert len(failed) == 1, failed
    assert failed[0].startswith("gold release: slice light:below_0.25 -")
    with opened_models(work) as models:
        with pytest.raises(StageError, match=r"fails its gate: gold release: slice light:below_0\.25"):
            promote_model(work, models, floors, by="ann", model_id=blind, revision=None)
        assert models.current() is None

        seeing = _candidate(work, is_blind_in_the_dark=False)
        assert promote_model(work, models, floors, by="ann", model_id=seeing, revision=None).model_id == seeing
        models.roll_back(by="ann", why="a test", model_id=seeing)
        assert models.current() is None

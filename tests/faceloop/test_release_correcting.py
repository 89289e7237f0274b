"""A corrected release holds what a fresh pack would, and copies nothing that stays."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.experiments.correcting import compact, correct_release
from faceloop.experiments.pin import Pin, write_pin
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace, run_stage
from faceloop.training.reading.batches import TrainReader
from faceloop.training.reading.order import Balanced
from facestore.crops import CropWriter
from facestore.errors import StageError
from facestore.keys import init_keyring
from facestore.publish import fresh_partial, publish, read_manifest, verify
from facestore.records import Assignment, Face, FaceEmbedding, Footage, NearDuplicate, ReleaseSample
from facestore.shards import ShardReader
from facestore.tables import read_table, write_table

from .runner_world import ROOT

PEOPLE, PHOTOS = 9, 4
Labels = dict[str, str | None]  # face → identity


def _face_id(person: int, photo: int) -> str:
    return f"{person:016x}{photo:016x}"


LABELS: Labels = {_face_id(who, photo): f"person-{who}" for who in range(PEOPLE) for photo in range(PHOTOS)}


def _publish(work: Workspace, artifact: str) -> None:
    publish(work.path(artifact), stage=artifact, run_key=artifact, counts={}, inputs={})


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    overrides = [f"paths.source={tmp_path / 'source'}", "pack.samples_per_shard=5", "pack.min_samples_per_identity=2"]
    tree = read_params(ROOT / "params.yaml", overrides)
    root = open_workspace(tmp_path / "root", tree, threads=1, progress=SilentProgress())
    names = sorted(LABELS)
    footage = Footage(
        footage_id="m", batch="b0", uri="m.jpg", locations=("m.jpg",), size_bytes=1, kind="image", width=640,
        height=480, rotation=0, fps=None, duration_s=None, frames=None, codec="jpeg", captured_at=None, source="s",
        subset="s", consent_id=None, keys=(), flags=(),
    )  # fmt: skip
    write_table(fresh_partial(root.path("footage"), keep=False) / "footage.parquet", Footage, [footage])
    faces = [
        Face(
            face_id=name, footage_id="m", subset="s", pts_ms=0, bbox=(0.0, 0.0, 9.0, 9.0), landmarks=(0.0,) * 10,
            det_score=0.9, tracklet_id="t", is_best_shot=True, size_px=90.0, sharpness=0.5, brightness=0.5,
            contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9, crop_key=f"b0/{name}",
            detector="d", rejected=None,
        )
        for name in names
    ]  # fmt: skip
    write_table(fresh_partial(root.path("faces"), keep=False) / "b0/faces.parquet", Face, faces)
    with CropWriter(fresh_partial(root.path("crops"), keep=False) / "b0") as writer:
        for place, name in enumerate(names):
            writer.put("aligned", name, np.full((112, 112, 3), 5 * place, np.uint8))
    vectors = [
        FaceEmbedding(
            face_id=name, tracklet_id="t", footage_id="m", contract_id="c",
            embedding=tuple(np.eye(64, dtype=np.float32)[place].tolist()),
        )
        for place, name in enumerate(names)
    ]  # fmt: skip
    staging = fresh_partial(root.path("embeddings"), keep=False)
    write_table(staging / "b0/faces.parquet", FaceEmbedding, vectors)
    write_table(staging / "b0/near_duplicates.parquet", NearDuplicate, [])
    for artifact in ("footage", "faces", "crops", "embeddings"):
        _publish(root, artifact)
    label(root, LABELS)
    run_stage(root, "pack")
    return root


def label(work: Workspace, labels: Labels) -> None:
    rows = [
        Assignment(
            face_id=name, identity_id=identity, state="unknown" if identity is None else "confirmed", confidence=0.9,
            source="human", decision_id=None, via=None,
        )
        for name, identity in sorted(labels.items())
    ]  # fmt: skip
    write_table(fresh_partial(work.path("assignments"), keep=False) / "assignments.parquet", Assignment, rows)
    _publish(work, "assignments")


def held(work: Workspace) -> dict[str, tuple[str, str, int]]:
    """Face → split, identity, grey level; by the records, and the table says the same."""
    release = work.path("release")
    verify(release)
    found: dict[str, tuple[str, str, int]] = {}
    for row in read_table(release, "samples", ReleaseSample):
        sample = ShardReader(release / row.split)[row.row]
        assert (sample.label.face_id, sample.label.identity_id) == (row.face_id, row.identity_id)
        assert sample.label.class_index == row.class_index
        found[row.face_id] = (row.split, row.identity_id, int(sample.image_rgb.mean() + 0.5))
    return found


def corrected_labels() -> Labels:
    """Somebody moved, somebody new, a face unknown now, a person gone."""
    labels = dict(LABELS)
    labels[_face_id(0, 0)] = "person-1"
    labels[_face_id(2, 1)] = None
    labels |= {_face_id(3, photo): "somebody-else" for photo in range(PHOTOS)}
    labels |= {_face_id(4, photo): None for photo in range(PHOTOS)}
    return labels


def test_a_correction_holds_what_a_fresh_pack_would(work: Workspace) -> None:
    label(work, corrected_labels())
    shards = {path: path.stat().st_ino for path in work.path("release").rglob("shard-*.lmdb")}
    done = correct_release(work)
    assert (done.relabelled, done.added, done.removed) == (5, 0, 5)
    assert {path: path.stat().st_ino for path in shards} == shards
    by_delta = held(work)
    lineage = json.loads((work.path("release") / "manifest.json").read_text())["lineage"]["footage"]
    assert lineage == [{"consent_id": None, "footage_id": "m", "subset": "s"}]
    found = read_manifest(work.path("release"))
    outcome = run_stage(work, "pack")
    assert found is not None and found.run_key == outcome.run_key
    assert outcome.was_published_before
    run_stage(work, "pack", again=True)
    assert by_delta == held(work)


def test_a_correction_taken_back_and_compacted_is_the_release_again(work: Workspace) -> None:
    before = held(work)
    label(work, corrected_labels())
    correct_release(work)
    label(work, LABELS)
    back = correct_release(work)
    assert (back.relabelled, back.added, back.removed) == (5, 5, 0)
    assert held(work) == before
    compact(work)
    assert held(work) == before
    assert not list(work.path("release").rglob("delta-*")) and not list(work.path("release").rglob("tombstones-*"))
    classes = {row.class_index for row in read_table(work.path("release"), "samples", ReleaseSample)} - {-1}
    assert classes == set(range(len(classes)))


def test_nothing_decided_is_no_delta(work: Workspace) -> None:
    manifest = read_manifest(work.path("release"))
    assert correct_release(work).kept == PEOPLE * PHOTOS
    assert read_manifest(work.path("release")) == manifest
    labels = [*read_table(work.path("assignments"), "assignments", Assignment)]
    write_table(
        fresh_partial(work.path("assignments"), keep=False) / "assignments.parquet",
        Assignment,
        [replace(row, source="auto") for row in labels],
    )
    _publish(work, "assignments")
    correct_release(work)  # other tables, the same samples: what it was made from is all that changes
    after = read_manifest(work.path("release"))
    assert manifest is not None and after is not None
    assert (after.files, after.run_key == manifest.run_key) == (manifest.files, False)


def test_training_reads_a_corrected_release_with_its_samplers(work: Workspace) -> None:
    label(work, corrected_labels())
    correct_release(work)
    expected = {identity for split, identity, _ in held(work).values() if split == "train"}
    reader = TrainReader(work.path("release") / "train", batch_size=4, sampler=Balanced(), augmentation=None)
    seen = {label for batch in reader.batches(0) for label in batch.labels.tolist()}
    class_of = {
        row.identity_id: row.class_index
        for row in read_table(work.path("release"), "samples", ReleaseSample)
        if row.split == "train"
    }
    assert class_of.keys() == expected
    assert seen <= set(class_of.values())


def test_a_correction_takes_out_what_consents_withhold_by_now(work: Workspace) -> None:
    """Here: footage without any basis, where one is asked for."""
    tree = read_params(ROOT / "params.yaml", [f"paths.source={work.root.parent / 'source'}", "consent.policy=enforce"])
    strict = open_workspace(work.root, tree, threads=1, progress=SilentProgress())
    done = correct_release(strict)
    assert (done.removed, done.kept) == (PEOPLE * PHOTOS, 0)
    assert held(work) == {}


def test_a_correction_in_a_root_that_was_encrypted_since_is_sealed_and_read_with_the_rest(
    work: Workspace, tmp_path: Path
) -> None:
    key_file = tmp_path / "master.key"
    key_file.touch(0o600)
    key_file.write_bytes(b64encode(b"k" * 32))
    init_keyring(work.root, master_key=b"k" * 32, key_file=key_file)
    label(work, corrected_labels())
    done = correct_release(work)
    assert done.relabelled == 5
    seen = held(work)
    assert len(seen) == PEOPLE * PHOTOS - done.removed
    deltas = [path.read_bytes() for path in work.path("release").rglob("delta-*.lmdb")]
    assert deltas and not [payload for payload in deltas if b"\xff\xd8\xff" in payload]
    compact(work)
    assert held(work) == seen


def test_a_pinned_release_is_not_corrected(work: Workspace) -> None:
    write_pin(work.root, Pin(version="v", digest="d"))
    with pytest.raises(StageError, match="pinned"):
        correct_release(work)


def test_the_commands_say_what_they_did(work: Workspace) -> None:
    label(work, corrected_labels())
    options = ["--root", str(work.root), "--params", str(ROOT / "params.yaml")]
    options += ["--set", "pack.samples_per_shard=5", "--set", "pack.min_samples_per_identity=2"]
    told = CliRunner().invoke(app, ["release", "correct", *options])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["relabelled"] == 5
    told = CliRunner().invoke(app, ["release", "compact", *options])
    assert told.exit_code == 0, told.output
    assert len(json.loads(told.stdout)["version"]) == 12

"""Consents and trainings: a withdrawal while one works, and hard sets that were mined before it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.facestore.consent_world import a_consent

from faceloop.consent.enforcing import enforce
from faceloop.mining import hardset
from faceloop.mining.request import MiningRequest
from faceloop.params import section
from faceloop.runner import Workspace, run_stage
from faceloop.stages import train
from faceloop.training.places import mark_finished
from faceloop.training.reading.batches import TrainReader
from faceloop.training.reading.hard_sets import hard_samples
from faceloop.training.reading.order import Shuffled
from facestore.consents import Consents
from facestore.errors import ConsentRefused
from facestore.publish import read_manifest, write_manifest
from facestore.records import HardPair, ReleaseSample
from facestore.tables import read_table

from .consented_footage import name_consents
from .mining_world import PHOTOS, face_id, publish_world
from .runner_world import open_root, tree_of
from .training_release import released_to_train

TINY = ("train.start=scratch", "train.freeze_batchnorm=false", "train.architecture.dimension=16",
        "train.schedule.epochs=1", "train.workers=0", "train.batch_size=4", "train.device=cpu")  # fmt: skip


@pytest.fixture
def consented(tmp_path: Path) -> Workspace:
    """A release to train on, all of it from one footage that names c-1."""
    work = released_to_train(tmp_path / "root", *TINY)
    release = work.path("release")
    before = read_manifest(release)
    assert before is not None
    paper = {"release": "abc123", "lineage": {"footage": [{"footage_id": "f", "consent_id": "c-1"}]}}
    (release / "manifest.json").write_text(json.dumps(paper), encoding="utf-8")
    write_manifest(release, stage=before.stage, run_key=before.run_key, counts=before.counts, inputs=before.inputs)
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1")])
    consents.close()
    return work


def _withdrawing_as_it_ends(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:

    def withdraw(folder: Path) -> None:
        consents = Consents(work.ledger_url())
        consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
        consents.close()
        mark_finished(folder)

    monkeypatch.setattr("faceloop.stages.train.mark_finished", withdraw)


def test_a_training_that_a_withdrawal_overtook_publishes_no_candidate(
    consented: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _withdrawing_as_it_ends(consented, monkeypatch)
    with pytest.raises(ConsentRefused, match="run pack"):
        run_stage(consented, "train")
    assert read_manifest(consented.path("candidate")) is None


def test_a_training_that_does_not_look_again_is_caught(consented: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant publishes a candidate of withdrawn faces."""
    _withdrawing_as_it_ends(consented, monkeypatch)
    monkeypatch.setattr("faceloop.runner.prove", lambda session, basis: None)
    run_stage(consented, "train")
    assert read_manifest(consented.path("candidate")) is not None


def test_an_older_hard_set_weighs_no_face_that_was_withdrawn_since(tmp_path: Path) -> None:
    """A set that is named in the params stays as it is; a training reads the faces of the release, never the set's."""
    publish_world(tmp_path / "root", tmp_path / "source")
    plain = tree_of(tmp_path / "source", "pack.val_share=0", "pack.test_share=0")
    work = open_root(tmp_path / "root", plain)
    theirs = {face_id(1, photo) for photo in range(PHOTOS)}
    name_consents(work, dict.fromkeys(theirs, "c-1"))
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1")])
    run_stage(work, "pack")
    mined = hardset.mine(work, MiningRequest(name="slice"), now=datetime(2026, 1, 1, tzinfo=UTC))
    folder = work.root / hardset.HARD_SETS / mined.name / mined.version
    pairs = list(read_table(folder, "pairs", HardPair))
    listed = {face for pair in pairs for face in (pair.first_face_id, pair.second_face_id)}
    assert listed & theirs and listed - theirs
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    consents.close()
    named = open_root(work.root, tree_of(tmp_path / "source", "pack.val_share=0", "pack.test_share=0",
                                         f"train.loss.hard_sets=['{folder}']"))  # fmt: skip
    with pytest.raises(ConsentRefused, match="run pack"):
        run_stage(named, "train")
    enforce(named)
    release = named.path("release")
    rows = sorted((row.row, row.face_id) for row in read_table(release, "samples", ReleaseSample))
    weighed = hard_samples(release, section(named.tree, "train", train.Params).loss)
    assert {face for (_, face), is_hard in zip(rows, weighed, strict=True) if is_hard} == listed - theirs
    reader = TrainReader(release / "train", batch_size=1, sampler=Shuffled(), augmentation=None)
    assert sum(len(batch.confidences) for batch in reader.batches(0)) == len(rows)

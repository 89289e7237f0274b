"""Doors beside the stages keep to consents, too: mining, the release and its jobs, what people are shown."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.facestore.consent_world import a_consent
from typer.testing import CliRunner

from faceloop.commands.release import app as release_app
from faceloop.consent.enforcing import enforce, holdings
from faceloop.evaluation.gold import HeldCrops, gold_of
from faceloop.evaluation.pair_scores import PairList
from faceloop.evaluation.pictures.sheets import sheet_pairs
from faceloop.jobs.submitting import job_request
from faceloop.mining import hardset
from faceloop.mining.request import MiningRequest
from faceloop.runner import Workspace, run_stage
from faceloop.stages import evaluate
from faceloop.training.reading.batches import TrainReader
from faceloop.training.reading.order import Shuffled
from facestore.consentbasis import Withheld
from facestore.consents import Consents
from facestore.errors import ConsentChanged, ConsentRefused
from facestore.ids import sha256_hex
from facestore.publish import seal
from facestore.records import HardPair, ReleaseSample
from facestore.tables import read_table

from .consented_footage import name_consents
from .mining_world import PERSON, PHOTOS, face_id, publish_world
from .runner_world import open_root, tree_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
THEIRS = {face_id(1, photo) for photo in range(PHOTOS)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Person 1's photos name consent c-1, which allows everything; a release holds them."""
    folder = tmp_path_factory.mktemp("doors")
    publish_world(folder / "root", folder / "source")
    work = open_root(folder / "root", tree_of(folder / "source", "pack.val_share=0", "pack.test_share=0"))
    name_consents(work, dict.fromkeys(THEIRS, "c-1"))
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1")])
    consents.close()
    run_stage(work, "pack")
    return work


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    return open_root(tmp_path / "root", published.tree)


def withdraw(work: Workspace) -> None:
    consents = Consents(work.ledger_url())
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    consents.close()


def mined(work: Workspace) -> tuple[hardset.HardSet, set[str]]:
    """A hard set, and the faces in it."""
    found = hardset.mine(work, MiningRequest(name="slice"), now=NOW)
    pairs = read_table(work.root / hardset.HARD_SETS / found.name / found.version, "pairs", HardPair)
    return found, {face for pair in pairs for face in (pair.first_face_id, pair.second_face_id)}


def test_mining_leaves_out_whom_consents_withhold_and_makes_another_version(work: Workspace) -> None:
    before, faces = mined(work)
    assert faces & THEIRS
    withdraw(work)
    after, faces = mined(work)
    assert faces and not faces & THEIRS
    assert after.left_out["faces_consent_withdrawn"] == PHOTOS and after.version != before.version


def _withdrawing_while_mining(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def withdrawing(*arguments: Any, **named: Any) -> Any:
        withdraw(work)
        return seal(*arguments, **named)

    monkeypatch.setattr(hardset, "seal", withdrawing)


def test_a_withdrawal_between_mining_and_publishing_publishes_nothing(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    _withdrawing_while_mining(work, monkeypatch)
    with pytest.raises(ConsentChanged, match="nothing of it was published"):
        mined(work)
    assert not list((work.root / hardset.HARD_SETS).glob("slice/*/pairs.parquet"))


def test_mining_that_does_not_look_again_is_caught(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: without the look inside its transaction the withdrawn faces are published."""
    _withdrawing_while_mining(work, monkeypatch)
    monkeypatch.setattr(hardset, "prove", lambda session, basis: None)
    assert mined(work)[1] & THEIRS


def test_a_release_is_freed_of_withheld_samples_at_once_and_no_job_starts_before(work: Workspace) -> None:
    release = work.path("release")
    kept = {row.face_id for row in read_table(release, "samples", ReleaseSample)}
    assert kept & THEIRS and holdings(work).samples == 0
    withdraw(work)
    with pytest.raises(ConsentRefused, match="run pack"):
        job_request(work, "train", revision=None, parameter_set="default")
    assert enforce(work).samples == len(kept & THEIRS)
    assert {row.face_id for row in read_table(release, "samples", ReleaseSample)} == kept - THEIRS
    assert holdings(work).samples == 0
    reader = TrainReader(release / "train", batch_size=1, sampler=Shuffled(), augmentation=None)
    assert reader.samples == sum(1 for _ in reader.batches(0)) == len(kept - THEIRS)
    assert job_request(work, "train", revision=None, parameter_set="default").kind == "train"


def test_a_contact_sheet_shows_no_face_that_may_only_be_measured(work: Workspace) -> None:
    """Taken out since the release was made, or withheld from people's eyes."""
    names = sorted(PERSON)
    crops = np.arange(len(names), dtype=np.uint8).repeat(112 * 112 * 3).reshape(-1, 112, 112, 3)
    gold = gold_of("release", [(name, str(PERSON[name]), name) for name in names], HeldCrops(images=crops))
    withheld = Withheld(reasons={"annotation": {sha256_hex(face.encode()): "out_of_purpose" for face in THEIRS}})
    hidden = evaluate._hidden(gold, work.path("faces"), work.path("assignments"), withheld)
    assert hidden == THEIRS
    nobodys = gold_of("release", [("never seen", "x", "t")], HeldCrops(images=crops))
    assert evaluate._hidden(nobodys, work.path("faces"), work.path("assignments"), Withheld()) == {"never seen"}
    rows = np.arange(0, len(names) - 1, 2)
    ones = np.ones(len(rows), np.int64)
    pairs = PairList(first=rows, second=rows + 1, steps=ones, stands_for=ones)

    def shown(hidden: set[str]) -> set[str]:
        found = sheet_pairs(gold, pairs, lowest=False, limit=99, hidden=hidden)
        return {names[int(crop[0, 0, 0])] for pair in found for crop in (pair.first, pair.second)}

    assert shown(set()) & THEIRS
    assert shown(hidden) and not shown(hidden) & THEIRS


def test_a_release_that_holds_whom_consents_withhold_is_given_to_nobody_in_another_format(
    work: Workspace, tmp_path: Path
) -> None:
    settings = tmp_path / "params.yaml"
    settings.write_text(yaml.safe_dump(dict(work.tree)), encoding="utf-8")
    options = ["--to", "imagefolder", "--root", str(work.root), "--params", str(settings)]
    before = CliRunner().invoke(release_app, ["convert", str(tmp_path / "before"), *options])
    assert before.exit_code == 0, before.output
    withdraw(work)
    after = CliRunner().invoke(release_app, ["convert", str(tmp_path / "after"), *options])
    assert isinstance(after.exception, ConsentRefused) and not (tmp_path / "after").exists()
    enforce(work)
    again = CliRunner().invoke(release_app, ["convert", str(tmp_path / "after"), *options])
    assert again.exit_code == 0, again.output

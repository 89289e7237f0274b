"""`faceloop gallery` on a published root: who is in it, who never is, which one counts."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.facestore.consent_world import a_consent
from typer.testing import CliRunner

from faceloop.commands.gallery import app as gallery_app
from faceloop.decision_tables import with_decision_log
from faceloop.export.gallery import Gallery, members_of, write_gallery
from faceloop.export.gallery_shelf import galleries_with, history_of
from faceloop.identity.resolve import RESTRICTION
from faceloop.promotion import galleries
from faceloop.promotion.galleries import GalleryRequest, publish_gallery, roll_back_gallery
from faceloop.restriction.certificate import certify
from faceloop.restriction.restricting import restrict
from faceloop.runner import Workspace
from facestore.consents import Consents
from facestore.decisions import decide
from facestore.errors import ConsentChanged, DataError, StageError
from facestore.ids import JsonValue
from facestore.records import Assignment
from facestore.tables import read_table

from . import mining_world
from .consented_footage import name_consents
from .contract_world import CONTRACT, its_dimension, under_contract
from .mining_world import PHOTOS, axis, face_id, label, publish_world
from .runner_world import open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROPOSED = GalleryRequest(states=["confirmed", "proposed"], templates=3)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("gallery")
    return under_contract(lambda: publish_world(folder / "root", folder / "source"))


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(published.tree), encoding="utf-8")
    return open_root(tmp_path / "root", published.tree)


def current(work: Workspace) -> Path:
    return work.root / "galleries" / history_of(work.root)[-1]


def identity_of(work: Workspace, person: int) -> str:
    rows = {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}
    return str(rows[face_id(person, 0)].identity_id)


def say(work: Workspace, verb: str, *faces: str, note: str | None = None, identity: str | None = None) -> None:
    said = [
        decide(
            "is" if verb == "is" else "ignore",
            face_id=face,
            identity_id=identity,
            annotator="eve",
            decided_at=NOW,
            note=note,
        )
        for face in faces
    ]
    with_decision_log(work, lambda log: log.append(said))


def command(work: Workspace, *words: str) -> dict[str, JsonValue]:
    arguments = [*words, "--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    done = CliRunner().invoke(gallery_app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_proposed_people_are_published_only_on_request_and_each_is_found_by_their_face(work: Workspace) -> None:
    with pytest.raises(DataError, match="confirm identities first"):
        publish_gallery(work, GalleryRequest())
    found = command(work, "publish", "--proposed")
    assert (found["identities"], found["state"]) == (4, "published")
    gallery = Gallery(current(work))
    with its_dimension():
        queries = np.stack([axis(person) for person in range(4)]).astype(np.float32)
    matches = gallery.search(queries, contract_id=CONTRACT.contract_id, people=1)
    assert [match[0].identity_id for match in matches] == [identity_of(work, person) for person in range(4)]
    assert {match[0].verdict for match in matches} == {"match"}


def test_confirmed_people_alone_are_published_by_default(work: Workspace) -> None:
    subject = identity_of(work, 2)
    say(work, "is", *(face_id(2, photo) for photo in range(PHOTOS)), identity=subject)
    label(work)
    assert publish_gallery(work, GalleryRequest()).identities == 1
    assert set(Gallery(current(work)).identities) == {subject}


def test_the_same_labels_are_the_same_gallery_and_another_request_is_another_one(work: Workspace) -> None:
    first, second = publish_gallery(work, PROPOSED), publish_gallery(work, PROPOSED)
    assert first.digest == second.digest and second.was_there_before
    assert len(history_of(work.root)) == 1
    other = publish_gallery(work, PROPOSED.model_copy(update={"templates": 1}))
    assert other.digest != first.digest and other.rows == 4
    assert sum(path.is_dir() for path in (work.root / "galleries").iterdir()) == 2  # galleries stay


def test_a_restricted_person_is_in_no_gallery_from_that_moment_on_and_no_way_back_leads_to_them(
    work: Workspace,
) -> None:
    publish_gallery(work, PROPOSED)
    subject = identity_of(work, 1)
    say(work, "ignore", face_id(1, 0), note=f"{RESTRICTION}{subject}: person_asked")  # no stage ran since
    done = publish_gallery(work, PROPOSED)
    assert done.identities == 3 and done.left_out["faces_restricted"] == PHOTOS
    assert not members_of(current(work)) & {face_id(1, photo) for photo in range(PHOTOS)}
    before = history_of(work.root)
    with pytest.raises(DataError, match="taken out since"):
        roll_back_gallery(work)
    assert history_of(work.root) == before


@pytest.mark.parametrize("looks_again", [True, False])
def test_whom_consents_withhold_is_in_no_gallery_also_when_they_withdraw_meanwhile(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, looks_again: bool
) -> None:
    """The mutant does not look again as the pointer moves: a withdrawn face is then in the gallery that counts."""
    theirs = {face_id(1, photo) for photo in range(PHOTOS)}
    name_consents(work, dict.fromkeys(theirs, "c-1"))
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1")])
    publish_gallery(work, PROPOSED.model_copy(update={"templates": 1}))
    before = history_of(work.root)
    assert members_of(current(work)) & theirs

    def withdrawing(*arguments: object, **named: object) -> str:
        consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
        return write_gallery(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(galleries, "write_gallery", withdrawing)
        if not looks_again:
            patch.setattr(galleries, "prove", lambda session, basis: None)
            publish_gallery(work, PROPOSED)
            assert members_of(current(work)) & theirs
            return
        with pytest.raises(ConsentChanged):
            publish_gallery(work, PROPOSED)
    assert history_of(work.root) == before
    done = publish_gallery(work, PROPOSED)
    assert done.identities == 3 and done.left_out["faces_consent_withdrawn"] == PHOTOS
    assert not members_of(current(work)) & theirs
    with pytest.raises(DataError, match="consents withhold"):
        roll_back_gallery(work)


def test_no_copy_is_given_to_others_of_a_gallery_that_holds_whom_consents_withhold(
    work: Workspace, tmp_path: Path
) -> None:
    name_consents(work, {face_id(1, photo): "c-1" for photo in range(PHOTOS)})
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1")])
    publish_gallery(work, PROPOSED)
    assert command(work, "export", str(tmp_path / "before"))["gallery"] == history_of(work.root)[-1]
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    consents.close()
    arguments = ["--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    done = CliRunner().invoke(gallery_app, ["export", str(tmp_path / "after"), *arguments])
    assert isinstance(done.exception, DataError) and "consents withhold" in str(done.exception)
    assert not (tmp_path / "after").exists()


def test_a_face_that_people_took_out_leaves_the_rest_of_its_person(work: Workspace) -> None:
    say(work, "ignore", face_id(0, 3))
    assert publish_gallery(work, PROPOSED).identities == 4
    assert face_id(0, 3) not in members_of(current(work)) and face_id(0, 4) in members_of(current(work))


def test_going_back_lets_the_gallery_before_count_and_forward_again_by_publishing(work: Workspace) -> None:
    first = command(work, "publish", "--proposed")["gallery"]
    second = command(work, "publish", "--proposed", "--templates", "1")["gallery"]
    assert command(work, "show")["gallery"] == second
    assert command(work, "roll-back") == {"gallery": first, "state": "rolled_back"}
    assert command(work, "show")["gallery"] == first
    with pytest.raises(DataError, match="before this one"):
        roll_back_gallery(work)
    assert command(work, "publish", "--proposed", "--templates", "1")["gallery"] == second


def test_thresholds_are_cosines_of_the_calibration_that_the_labels_were_made_with(work: Workspace) -> None:
    shown = command(work, "publish", "--proposed") and command(work, "show")
    said = shown["thresholds"]
    calibration = mining_world.CALIBRATION
    assert isinstance(said, dict)
    assert said["match"] == pytest.approx(calibration.cosine(3.7), abs=1e-4)
    assert said["stranger"] == pytest.approx(calibration.cosine(2.3), abs=1e-4)


def test_before_identify_has_run_there_is_nothing_to_publish(work: Workspace) -> None:
    shutil.rmtree(work.path("assignments"))
    with pytest.raises(StageError, match="run the flow up to identify first"):
        publish_gallery(work, PROPOSED)


def test_a_restricted_persons_galleries_are_found_and_until_one_without_them_counts_nothing_is_certified(
    work: Workspace,
) -> None:
    publish_gallery(work, PROPOSED)
    name, subject = current(work).name, identity_of(work, 1)
    theirs = {face_id(1, photo) for photo in range(PHOTOS)}
    (held,) = galleries_with(work.root, theirs)
    assert (held.gallery, held.is_current) == (name, True)
    assert held.faces == len(members_of(current(work)) & theirs) > 0
    restrict(work, subject, by="eve", reason="person_asked", now=NOW)
    assert "run `faceloop gallery publish`, and have consumers load it" in certify(work, subject, now=NOW).missing
    publish_gallery(work, PROPOSED)
    certified = certify(work, subject, now=NOW)
    assert "run `faceloop gallery publish`, and have consumers load it" not in certified.missing
    paper = json.loads((work.root / "restrictions" / subject / "certificate.json").read_text(encoding="utf-8"))
    assert [line for line in paper["still_holds"] if line.startswith(f"galleries/{name}: made from {held.faces} faces")]
    assert [held.is_current for held in galleries_with(work.root, theirs)] == [False]
    assert galleries_with(work.root, {"nobody"}) == []

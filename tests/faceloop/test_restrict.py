"""Restriction: everything of a person found, nothing of them used any more, a certificate that says what remains."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.decision_tables import with_decision_log, with_identity_log
from faceloop.review.access import with_review_log
from faceloop.runner import Workspace, run_stage
from facereview.kinds import SamePerson, Strip, ask
from facestore.decisions import decide, identity_event
from facestore.ids import JsonValue, canonical_json, sha256_hex
from facestore.records import Assignment, ReleaseSample
from facestore.tables import read_table

from .mining_world import PERSON, PHOTOS, face_id, label, publish_world
from .runner_world import open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("restricted")
    work = publish_world(folder / "root", folder / "source")
    run_stage(work, "pack")
    return work


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    (tmp_path / "params.yaml").write_text(json.dumps(published.tree), encoding="utf-8")
    return open_root(tmp_path / "root", published.tree)


def restrict(work: Workspace, command: str, subject: str, *words: str) -> dict[str, JsonValue]:
    arguments = ["restrict", command, subject, "--root", str(work.root)]
    arguments += ["--params", str(work.root.parent / "params.yaml"), *words]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def apply(work: Workspace, subject: str) -> dict[str, JsonValue]:
    return restrict(work, "apply", subject, "--by", "eve", "--reason", "person_asked")


def labels(work: Workspace) -> dict[str, Assignment]:
    return {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}


def identity_of(work: Workspace, person: int) -> str:
    found = labels(work)[face_id(person, 0)].identity_id
    assert found is not None
    return found


def people_in_release(work: Workspace) -> set[int]:
    return {PERSON[sample.face_id] for sample in read_table(work.path("release"), "samples", ReleaseSample)}


def paper(work: Workspace, subject: str) -> dict[str, JsonValue]:
    path = work.root / "restrictions" / subject / "certificate.json"
    body: dict[str, JsonValue] = json.loads(path.read_text(encoding="utf-8"))
    return body


def test_find_counts_what_holds_a_person_and_says_no_name(work: Workspace) -> None:
    subject = identity_of(work, 0)
    named = identity_event("rename", identity_id=subject, name="Ann Smith", annotator="eve", happened_at=NOW)
    with_identity_log(work, lambda log: log.append([named], []))
    found = restrict(work, "find", "Ann Smith")
    assert found["subject"] == subject
    assert (found["faces"], found["footage"], found["crops"], found["vectors"]) == (6, 6, 6, 12)
    assert found["samples"] == [{"place": "release", "rows": 6, "is_current": True}]
    assert "Smith" not in json.dumps(found)
    assert restrict(work, "find", face_id(0, 3)) == found == restrict(work, "find", subject[:14])


def test_after_restriction_and_one_run_nothing_of_the_person_is_used_and_others_keep_their_labels(
    work: Workspace,
) -> None:
    subject, before = identity_of(work, 1), labels(work)
    assert people_in_release(work) == {0, 1, 2, 3}
    done = apply(work, subject)
    assert (done["faces"], done["newly"]) == (PHOTOS, PHOTOS)
    label(work, "select", "pack")
    after = labels(work)
    assert {after[face_id(1, photo)].state for photo in range(PHOTOS)} == {"ignored"}
    assert people_in_release(work) == {0, 2, 3}
    others = [face for face, person in PERSON.items() if person != 1]
    assert [(after[face].identity_id, after[face].state) for face in others] == [
        (before[face].identity_id, before[face].state) for face in others
    ]


def test_lifting_brings_back_every_label_and_sample(work: Workspace) -> None:
    subject, before = identity_of(work, 1), labels(work)
    apply(work, subject)
    label(work, "pack")
    lifted = restrict(work, "lift", subject, "--by", "eve")
    assert lifted == {"subject": subject, "faces": PHOTOS, "returned": 0}
    label(work, "pack")
    assert people_in_release(work) == {0, 1, 2, 3}
    back = labels(work)
    assert {face: row.identity_id for face, row in back.items()} == {
        face: row.identity_id for face, row in before.items()
    }
    refused = CliRunner().invoke(app, ["restrict", "lift", subject, "--root", str(work.root)])
    assert "is not restricted" in str(refused.exception)


def test_applied_twice_it_writes_once_and_applied_again_it_takes_in_what_came_since(work: Workspace) -> None:
    subject = identity_of(work, 2)
    apply(work, subject)
    assert apply(work, subject)["newly"] == 0
    later = decide(
        "is",
        face_id=face_id(2, 0),
        identity_id=subject,
        annotator="bob",
        decided_at=datetime.now(UTC) + timedelta(days=1),
    )
    with_decision_log(work, lambda log: log.append([later]))  # an answer that came late brings nobody back
    label(work, "pack")
    assert {labels(work)[face_id(2, photo)].state for photo in range(PHOTOS)} == {"ignored"}
    assert restrict(work, "certificate", subject)["complete"] is True
    assert apply(work, subject)["newly"] == 0
    restrict(work, "lift", subject)
    label(work)
    assert labels(work)[face_id(2, 0)].state == "confirmed"  # but counts when the restriction is lifted


@pytest.mark.parametrize("policy", ["latest", "majority", "adjudicate"])
def test_what_people_said_before_does_not_keep_a_face_in_use_under_any_policy(work: Workspace, policy: str) -> None:
    subject = identity_of(work, 0)
    said = [
        decide("is", face_id=face_id(0, 0), identity_id=subject, annotator=who, decided_at=NOW) for who in ("bob", "cy")
    ]
    said.append(decide("same", face_id=face_id(0, 1), other_face_id=face_id(0, 2), annotator="bob", decided_at=NOW))
    with_decision_log(work, lambda log: log.append(said))
    tree: dict[str, JsonValue] = {**work.tree, "decisions": {"policy": policy}}
    work = open_root(work.root, tree)
    (work.root.parent / "params.yaml").write_text(json.dumps(tree), encoding="utf-8")
    assert apply(work, subject)["retracted"] == 3
    label(work)
    assert {labels(work)[face_id(0, photo)].state for photo in range(PHOTOS)} == {"ignored"}
    assert restrict(work, "lift", subject)["returned"] == 3
    label(work)
    assert labels(work)[face_id(0, 0)].state == "confirmed"


def test_the_certificate_says_what_is_missing_until_it_is_done_and_what_remains_after(work: Workspace) -> None:
    subject = identity_of(work, 3)
    apply(work, subject)
    early = restrict(work, "certificate", subject)
    assert early["complete"] is False and "run pack" in str(early["missing"])
    label(work, "pack")
    late = restrict(work, "certificate", subject)
    assert (late["complete"], late["missing"]) == (True, [])
    body = paper(work, subject)
    assert "no proof of erasure" in str(body["kind"])
    assert body["reasons"] == ["person_asked"] and body["restricted_by"] == ["eve"]
    before, now = body["found_before"], body["found_now"]
    assert isinstance(before, dict) and isinstance(now, dict)
    assert (before["clustered"], now["clustered"]) == (PHOTOS, 0)
    remains = " ".join(str(line) for line in body["still_holds"]) if isinstance(body["still_holds"], list) else ""
    for word in ("footage: 6 files", "crops: 6", "vectors: 12", "models", "backups"):
        assert word in remains
    without = {key: value for key, value in body.items() if key != "sha256"}
    assert sha256_hex(canonical_json(without).encode()) == body["sha256"] == late["sha256"]
    page = (work.root / "restrictions" / subject / "certificate.html").read_text(encoding="utf-8")
    assert str(body["sha256"]) in page and "no proof of erasure" in page


def test_an_open_question_about_the_person_keeps_the_certificate_incomplete(work: Workspace) -> None:
    subject = identity_of(work, 0)
    pair = SamePerson(
        left=Strip(face_ids=(face_id(0, 0),)), right=Strip(face_ids=(face_id(1, 0),)), similarity=0.1, chance=0.2
    )
    question = ask(pair, subset="s", reason="weak_member", model_version="m", chance=0.8, gain=1.0, seconds=4.0)
    with_review_log(work, lambda log: log.offer([question], at=NOW))
    apply(work, subject)
    label(work, "pack")
    found = restrict(work, "certificate", subject)
    assert found["complete"] is False and "review push" in str(found["missing"])


def test_an_earlier_copy_of_a_release_is_named_as_what_still_holds_the_person(work: Workspace) -> None:
    subject = identity_of(work, 0)
    shutil.copytree(work.path("release"), work.root / "exports" / "v1")
    apply(work, subject)
    label(work, "pack")
    restrict(work, "certificate", subject)
    assert "an earlier copy of a release, exports/v1: 6 samples" in str(paper(work, subject)["still_holds"])


def test_nobody_is_refused_without_repeating_the_name_and_a_wrong_reason_is_refused(work: Workspace) -> None:
    for words, message in (
        (["find", "Jane Doe"], "no single identity, name or face is meant"),
        (["certificate", identity_of(work, 0)], "is not restricted"),
        (["apply", identity_of(work, 0), "--reason", "She asked"], "is no code"),
    ):
        done = CliRunner().invoke(app, ["restrict", *words, "--root", str(work.root)])
        assert done.exit_code != 0 and message in str(done.exception) and "Jane" not in str(done.exception)

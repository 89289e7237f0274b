"""`faceloop mine` on a published root: one JSON line, versions that stay, questions that push will ask."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.decision_tables import with_decision_log
from faceloop.mining import hardset
from faceloop.mining.request import MiningRequest, request_schema
from faceloop.review.access import with_review_log
from faceloop.review.offered import beside_plan
from faceloop.runner import Workspace
from facestore.decisions import decide
from facestore.errors import StageError
from facestore.ids import JsonValue
from facestore.publish import read_manifest, verify, write_manifest
from facestore.questions import Question, Settlement
from facestore.records import HardPair
from facestore.tables import read_table

from .mining_world import PERSON, face_id, label, publish_world, turned
from .runner_world import open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Four people, and a photo that resembles one of them too little to be sure."""
    folder = tmp_path_factory.mktemp("mined")
    return publish_world(folder / "root", folder / "source", {face_id(9, 0): turned(0, 40, 64)})


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    (tmp_path / "params.yaml").write_text(json.dumps(published.tree), encoding="utf-8")
    return open_root(tmp_path / "root", published.tree)


def mine(work: Workspace, *words: str, **changed: JsonValue) -> dict[str, JsonValue]:
    text = json.dumps({"name": "slice", **changed})
    params = work.root.parent / "params.yaml"
    arguments = ["mine", "--request", text, "--root", str(work.root), "--params", str(params), *words]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def pairs_of(work: Workspace, found: dict[str, JsonValue]) -> list[HardPair]:
    return list(read_table(work.root / str(found["folder"]), "pairs", HardPair))


def offered(work: Workspace) -> list[Question]:
    return with_review_log(work, lambda log: beside_plan(log, ()))


def test_every_pair_is_what_it_claims_and_the_set_is_whole(work: Workspace) -> None:
    found = mine(work)
    pairs = pairs_of(work, found)
    people = [(PERSON.get(pair.first_face_id), PERSON.get(pair.second_face_id), pair.kind) for pair in pairs]
    assert {kind for *_, kind in people} == {"hard_positive", "hard_negative"}
    assert all((one == other) == (kind == "hard_positive") for one, other, kind in people)
    assert found["pairs"] == len(pairs)
    folder = work.root / str(found["folder"])
    verify(folder)
    assert json.loads((folder / "request.json").read_text(encoding="utf-8"))["name"] == "slice"
    page = (folder / "pairs.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 2 * len(pairs) and "no names" not in page


def test_the_hardest_positive_is_the_pair_of_looks_that_only_a_third_face_ties(work: Workspace) -> None:
    first = pairs_of(work, mine(work))[0]
    assert first.kind == "hard_positive" and first.ground == "witness" and first.similarity < 0.4


def test_the_same_request_on_the_same_data_is_the_same_version(work: Workspace) -> None:
    first, second = mine(work), mine(work)
    assert (first["state"], second["state"]) == ("published", "unchanged")
    assert {**first, "state": ""} == {**second, "state": ""}
    other = mine(work, seed=2)
    assert other["version"] != first["version"]
    assert (work.root / str(first["folder"])).is_dir()  # versions stay


def test_equal_roots_give_equal_bytes(work: Workspace, tmp_path: Path) -> None:
    found = mine(work, "--ask")
    twin = open_root(tmp_path / "twin", work.tree)
    shutil.copytree(work.root, twin.root, ignore=shutil.ignore_patterns("hard_sets", "ledger*"))
    (twin.root.parent / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
    again = mine(twin, "--ask")
    assert again == found
    for path in sorted((work.root / str(found["folder"])).iterdir()):
        assert path.read_bytes() == (twin.root / str(found["folder"]) / path.name).read_bytes()


def test_doubtful_pairs_become_questions_that_push_takes_until_they_are_closed(work: Workspace) -> None:
    assert mine(work)["asked"] == 0 and offered(work) == []
    asked = mine(work, "--ask")["asked"]
    questions = offered(work)
    assert isinstance(asked, int) and asked == len(questions) > 0
    assert {question.reason for question in questions} <= {"weak_member", "bridge_between_identities"}
    gone = Settlement(question_id=questions[0].question_id, state="withdrawn", decision_ids=(), changed_at=NOW)
    with_review_log(work, lambda log: log.record([], [gone], []))
    assert questions[0].question_id not in {question.question_id for question in offered(work)}


def test_what_people_decide_makes_another_version_with_the_pair_reviewed(work: Workspace) -> None:
    before = mine(work)
    hardest = pairs_of(work, before)[0]
    said = decide(
        "same", face_id=hardest.first_face_id, other_face_id=hardest.second_face_id, annotator="eve", decided_at=NOW
    )
    with_decision_log(work, lambda log: log.append([said]))
    after = mine(work)
    assert (before["reviewed"], after["reviewed"]) == (0, 1) and after["version"] != before["version"]
    assert [pair.review for pair in pairs_of(work, after) if pair.ground == "people"] == ["people"]


def test_a_face_that_people_take_out_is_mined_no_more_even_before_the_next_run(work: Workspace) -> None:
    hardest = pairs_of(work, mine(work))[0]
    out = decide("ignore", face_id=hardest.first_face_id, annotator="eve", decided_at=NOW)
    with_decision_log(work, lambda log: log.append([out]))
    after = mine(work)
    assert all(hardest.first_face_id not in (pair.first_face_id, pair.second_face_id) for pair in pairs_of(work, after))
    left_out = after["left_out"]
    assert isinstance(left_out, dict) and left_out["faces_ignored"] == 1


def test_a_run_that_dies_while_it_writes_leaves_nothing_and_the_next_one_completes(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hardset, "write_sheet", dies)
        with pytest.raises(KeyboardInterrupt):
            hardset.mine(work, MiningRequest(name="slice"), now=NOW)
    assert list((work.root / "hard_sets").rglob("pairs.parquet")) == []
    found = mine(work)
    assert found["state"] == "published"
    verify(work.root / str(found["folder"]))


def test_labels_of_another_version_of_the_faces_are_refused(work: Workspace) -> None:
    said = decide("different", face_id=face_id(0, 1), other_face_id=face_id(0, 2), annotator="eve", decided_at=NOW)
    with_decision_log(work, lambda log: log.append([said]))
    label(work)
    clusters = read_manifest(work.path("clusters"))
    assert clusters is not None
    write_manifest(
        work.path("clusters"),
        stage=clusters.stage,
        run_key=clusters.run_key,
        counts=clusters.counts,
        inputs={**clusters.inputs, "faces": "0" * 64},
    )
    with pytest.raises(StageError, match="clusters was made from another version of faces; run cluster again"):
        hardset.mine(work, MiningRequest(name="slice"), now=NOW)


def test_wrong_calls_are_refused_in_one_line(work: Workspace, tmp_path: Path) -> None:
    for words, message in (
        ([], "name one file with a request"),
        ([str(tmp_path / "none.json")], "cannot read request"),
        (["--request", '{"name": "x", "identities": ["person-nobody"]}'], "identities person-nobody have no faces"),
    ):
        done = CliRunner().invoke(app, ["mine", *words, "--root", str(work.root)])
        assert done.exit_code != 0 and message in str(done.exception)


def test_the_schema_is_printed_for_forms() -> None:
    done = CliRunner().invoke(app, ["mine", "--schema"], catch_exceptions=False)
    assert json.loads(done.stdout) == request_schema()

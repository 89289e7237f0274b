"""What production sends back: taken once, counted whole, never a label; claims become questions."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from faceloop.commands.feedback import app as feedback_app
from faceloop.intake.feedback import FeedbackEvent, event_schema, read_event
from faceloop.intake.feedback_asking import ask_about_claims
from faceloop.intake.feedback_tables import FeedbackRow, read_events, read_opinions, write_take
from faceloop.intake.feedback_taking import take_feedback
from faceloop.review.access import with_review_log
from faceloop.review.offered import beside_plan
from faceloop.runner import Workspace, run_stage
from facestore.errors import ConfigError, DataError, StageError
from facestore.ids import JsonValue, file_sha256, sha256_hex
from facestore.records import Assignment, Footage, Rejection
from facestore.tables import read_table

from .mining_world import face_id, publish_world
from .runner_world import open_root, tree_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANN, BOB = "person-" + "a" * 16, "person-" + "b" * 16
Event = dict[str, JsonValue]


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    (tmp_path / "source").mkdir()
    return open_root(tmp_path / "root", tree_of(tmp_path / "source"))


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    (tmp_path / "feed" / "media").mkdir(parents=True)
    return tmp_path / "feed"


def picture(feed: Path, name: str, seed: int = 0) -> Path:
    path = feed / "media" / f"{name}.jpg"
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)).save(path)
    return path


def event(feed: Path, name: str, seed: int = 0, **changed: JsonValue) -> Event:
    path = picture(feed, name, seed)
    body: Event = {
        "schema_version": 1,
        "event_id": f"event-{name}",
        "observed_at": "2026-02-03T04:05:06+01:00",
        "device": "gate-1",
        "reason": "low_score",
        "media": {"path": f"media/{path.name}", "sha256": file_sha256(path), "box_px": [1, 2, 30, 40]},
        "gallery": "0" * 16,
        "contract_id": "1" * 16,
        "candidates": [{"identity_id": ANN, "score": 0.31}, {"identity_id": BOB, "score": 0.29}],
        "consent": {"basis": "consent", "consent_id": "paper-7"},
    }
    return {**body, **changed}


CORRECTED: Event = {
    "reason": "corrected",
    "correction": {"verdict": "is", "identity_id": BOB, "said_by": "desk/4", "said_at": "2026-02-03T04:06:00Z"},
}


def send(feed: Path, *events: Event | str) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in events]
    (feed / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return feed


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_taken_lies_in_the_source_as_a_subset_and_ingest_knows_time_and_consent(
    work: Workspace, feed: Path
) -> None:
    done = take_feedback(work, send(feed, event(feed, "one", 1), event(feed, "two", 2, **CORRECTED)))
    assert (done.events_in, done.taken, done.known, done.rejected) == (2, 2, 0, {})
    run_stage(work, "ingest")
    footage = {row.uri: row for row in read_table(work.path("footage"), "footage", Footage)}
    assert sorted(footage) == ["feedback-gate-1/event-one.jpg", "feedback-gate-1/event-two.jpg"]
    one = footage["feedback-gate-1/event-one.jpg"]
    assert (one.subset, one.consent_id) == ("feedback-gate-1", "paper-7")
    assert one.captured_at == datetime(2026, 2, 3, 3, 5, 6, tzinfo=UTC)
    rows = read_events(work.root)
    assert rows[0].footage_id == one.footage_id and rows[1].claimed_identity_id == BOB
    assert [(row.rank, row.identity_id) for row in read_opinions(work.root)[:2]] == [(0, ANN), (1, BOB)]


def test_the_same_feed_again_takes_nothing_and_changes_no_byte(work: Workspace, feed: Path, tmp_path: Path) -> None:
    sent = send(feed, event(feed, "one"), event(feed, "one"), "no json")
    first = take_feedback(work, sent)
    assert (first.events_in, first.taken, first.known, first.rejected) == (3, 1, 1, {"not_json": 1})
    take_feedback(work, sent)
    before = bytes_of(tmp_path / "source") | bytes_of(work.root / "feedback")
    third = take_feedback(work, sent)
    assert (third.taken, third.known, third.rejected) == (0, 2, {"not_json": 1})
    assert bytes_of(tmp_path / "source") | bytes_of(work.root / "feedback") == before
    assert len(read_events(work.root)) == 1


def test_a_take_that_was_cut_short_after_the_pictures_is_completed_by_the_next(work: Workspace, feed: Path) -> None:
    sent = send(feed, event(feed, "one"))
    take_feedback(work, sent)
    shutil.rmtree(work.root / "feedback")  # as if it had died before the table
    done = take_feedback(work, sent)
    assert done.taken == 1 and len(read_events(work.root)) == 1


def _outside(one: Event) -> None:
    one["media"] = {**dict(one["media"]), "path": "../secret.jpg"}  # type: ignore[arg-type]


def _gone(one: Event) -> None:
    one["media"] = {**dict(one["media"]), "path": "media/nothing.jpg"}  # type: ignore[arg-type]


def _other_bytes(one: Event) -> None:
    one["media"] = {**dict(one["media"]), "sha256": "0" * 64}  # type: ignore[arg-type]


def _no_paper(one: Event) -> None:
    one["consent"] = {"basis": "consent"}


def _unordered(one: Event) -> None:
    one["candidates"] = [{"identity_id": ANN, "score": 0.1}, {"identity_id": BOB, "score": 0.2}]


def _claim_without_reason(one: Event) -> None:
    one["correction"] = CORRECTED["correction"]


def _unknown_key(one: Event) -> None:
    one["name"] = "Jane Doe"


def _no_zone(one: Event) -> None:
    one["observed_at"] = "2026-02-03T04:05:06"


@pytest.mark.parametrize(
    ("spoil", "reason", "words"),
    [
        (_outside, "not_an_event", "below the file of events"),
        (_gone, "media_missing", "no file"),
        (_other_bytes, "media_changed", "sha256 is"),
        (_no_paper, "not_an_event", "needs the consent_id"),
        (_unordered, "not_an_event", "best first"),
        (_claim_without_reason, "not_an_event", "comes with a correction"),
        (_unknown_key, "not_an_event", "name: Extra inputs"),
        (_no_zone, "not_an_event", "timezone"),
    ],
)
def test_a_bad_event_is_quarantined_with_a_reason_and_stops_nothing(
    work: Workspace, feed: Path, spoil: Callable[[Event], None], reason: str, words: str
) -> None:
    bad = event(feed, "bad", 1)
    spoil(bad)
    done = take_feedback(work, send(feed, bad, event(feed, "good", 2)))
    assert (done.taken, done.rejected) == (1, {reason: 1})
    folder = work.root / "feedback" / str(done.take)
    (row,) = read_table(folder, "rejections", Rejection)
    assert words in row.detail and "Jane" not in row.detail
    assert len((folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_link_out_of_the_feed_and_a_document_are_no_media(work: Workspace, feed: Path, tmp_path: Path) -> None:
    linked, text = event(feed, "linked"), event(feed, "text")
    outside = tmp_path / "outside.jpg"
    shutil.move(feed / "media" / "linked.jpg", outside)
    (feed / "media" / "linked.jpg").symlink_to(outside)
    (feed / "media" / "text.jpg").write_text("dear sir", encoding="utf-8")
    text["media"] = {"path": "media/text.jpg", "sha256": sha256_hex(b"dear sir")}
    done = take_feedback(work, send(feed, linked, text))
    assert done.rejected == {"media_outside": 1, "not_media": 1} and done.taken == 0


def test_an_id_that_comes_with_other_content_is_refused_and_the_first_word_stays(work: Workspace, feed: Path) -> None:
    take_feedback(work, send(feed, event(feed, "one")))
    done = take_feedback(work, send(feed, event(feed, "one", device="gate-2")))
    assert done.rejected == {"event_id_reused": 1}
    assert [row.device for row in read_events(work.root)] == ["gate-1"]


def test_rows_that_people_wrote_in_the_source_manifest_stay_as_they_are(
    work: Workspace, feed: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "source" / "sources.csv"
    written = "path,subset,captured_at,consent_id,keys\nalbum/1.jpg,party,2026-01-01,c-1,badge=7"
    manifest.write_text(written, encoding="utf-8")
    take_feedback(work, send(feed, event(feed, "one")))
    lines = manifest.read_text(encoding="utf-8").splitlines()
    assert "\n".join(lines[:2]) == written
    assert lines[2:] == ["feedback-gate-1/event-one.jpg,,2026-02-03T04:05:06+01:00,paper-7,"]


def test_a_source_that_cannot_hold_consent_is_refused_before_anything_is_written(
    work: Workspace, feed: Path, tmp_path: Path
) -> None:
    sent = send(feed, event(feed, "one"))
    for override, words in (("paths.source=s3://b/p", "is a bucket"), ("ingest.source_manifest=s.yaml", "in a .csv")):
        other = open_root(work.root, tree_of(tmp_path / "source", override))
        with pytest.raises(ConfigError, match=words):
            take_feedback(other, sent)
    assert bytes_of(tmp_path / "source") == {} and read_events(work.root) == []
    with pytest.raises(DataError, match="is not there"):
        take_feedback(work, tmp_path)


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_fall_over(line: str) -> None:
    assert isinstance(read_event(line), FeedbackEvent | str)


def test_the_command_prints_one_object_and_the_schema_that_it_reads_by(
    work: Workspace, feed: Path, tmp_path: Path
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(work.tree), encoding="utf-8")
    sent = send(feed, event(feed, "one"))
    arguments = ["take", str(sent), "--root", str(work.root), "--params", str(params)]
    done = CliRunner().invoke(feedback_app, arguments, catch_exceptions=False)
    body = json.loads(done.stdout.splitlines()[-1])
    assert (body["events"], body["taken"], body["known"], body["rejected"]) == (1, 1, 0, {})
    schema = CliRunner().invoke(feedback_app, ["schema"], catch_exceptions=False)
    assert json.loads(schema.stdout) == json.loads(json.dumps(event_schema()))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("feedback")
    return publish_world(folder / "root", folder / "source")


def claim(face: str, identity: str, verdict: str = "is", **changed: object) -> FeedbackRow:
    plain: dict[str, object] = {
        "event_id": f"event-{face[:8]}-{verdict}", "digest": sha256_hex(f"{face}{identity}{verdict}".encode()),
        "footage_id": sha256_hex(face.encode()), "path": "p", "device": "gate-1", "observed_at": NOW,
        "reason": "corrected", "gallery": "0" * 16, "contract_id": "1" * 16, "x1_px": 100.0, "y1_px": 100.0,
        "x2_px": 200.0, "y2_px": 210.0, "consent_basis": "contract", "consent_id": None, "claim": verdict,
        "claimed_identity_id": identity, "claimed_by": "desk/4", "claimed_at": NOW,
    }  # fmt: skip
    return FeedbackRow(**{**plain, **changed})  # type: ignore[arg-type]


def test_a_claim_becomes_a_question_once_and_no_label_moves(labelled: Workspace, tmp_path: Path) -> None:
    shutil.copytree(labelled.root, tmp_path / "root")
    work = open_root(tmp_path / "root", labelled.tree)
    labels = {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}
    other = str(labels[face_id(1, 0)].identity_id)
    rows = [
        claim(face_id(0, 0), other),
        claim(face_id(2, 0), str(labels[face_id(2, 1)].identity_id), "is_not"),
        claim("nowhere", other),
        claim(face_id(0, 1), other, x1_px=500.0, x2_px=600.0),
        claim(face_id(0, 2), ANN),
    ]
    write_take(work.root, rows, [], [], [])
    first, second = ask_about_claims(work, now=NOW), ask_about_claims(work, now=NOW)
    assert first == second
    assert (first.claims, first.waiting, first.left) == (5, 2, {"claim_of_nobody": 1, "claim_without_face": 2})
    questions = with_review_log(work, lambda log: beside_plan(log, ()))
    assert {question.kind for question in questions} == {"same_person"}
    assert {question.reason for question in questions} == {"bridge_between_identities", "weak_member"}
    after = {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}
    assert after == labels


def test_claims_wait_until_there_are_labels(work: Workspace) -> None:
    with pytest.raises(StageError, match="run the flow up to identify first"):
        ask_about_claims(work, now=NOW)

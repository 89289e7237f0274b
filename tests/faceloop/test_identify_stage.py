"""identify with people's word: decisions, events and reviews come in through the decisions artifact."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceloop.decision_tables import with_decision_log, with_identity_log
from faceloop.identity.earlier import read_earlier
from faceloop.runner import Workspace
from facestore.decisions import Decision, Review, Verb, decide, identity_event
from facestore.errors import ConfigError
from facestore.ids import JsonValue

from .identity_root import CLUSTERS, ID, NAME, identify, identities, labels, make_root, of_face, publish_clusters

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return make_root(tmp_path / "root")


def _say(work: Workspace, verb: Verb, face: str, other: str | None = None, identity: str | None = None) -> Decision:
    said = decide(
        verb,
        face_id=ID[face],
        other_face_id=ID[other] if other else None,
        identity_id=identity,
        annotator="ann",
        decided_at=NOON,
    )
    with_decision_log(work, lambda log: log.append([said]))
    return said


def _counts(work: Workspace) -> dict[str, JsonValue]:
    return identify(work).report.counts()


def test_every_face_is_accounted_for_and_without_people_the_labels_are_the_machines(work: Workspace) -> None:
    counts = _counts(work)
    assert (counts["in"], counts["published"], counts["pending"]) == (7, 6, {"singleton": 1})
    assert {row.source for row in labels(work).values()} == {"auto"}
    assert counts["identities"] == 2


def test_a_word_is_taken_in_by_the_next_run_and_leaves_with_its_retraction(work: Workspace) -> None:
    identify(work)
    before = labels(work)
    said = _say(work, "is", "c1", identity=of_face(work, "a1"))
    counts = _counts(work)
    assert labels(work)["c1"].state == "confirmed"
    assert labels(work)["a2"].via == "cluster"
    assert counts["confirmed"] == 1
    gone = decide("retract", retracts=said.decision_id, annotator="ann", decided_at=NOON + timedelta(hours=1))
    with_decision_log(work, lambda log: log.append([gone]))
    identify(work)
    assert labels(work) == before


def test_no_face_and_nobody_of_interest_are_counted_by_their_reason(work: Workspace) -> None:
    _say(work, "not_a_face", "a1")
    _say(work, "ignore", "b1")
    counts = _counts(work)
    assert counts["rejected"] == {"ignored": 1, "not_a_face": 1}
    assert labels(work)["a2"].identity_id is not None


def test_a_face_that_the_clusters_leave_out_keeps_the_label_that_people_gave_it(work: Workspace) -> None:
    identify(work)
    _say(work, "is", "c1", identity=of_face(work, "b1"))
    publish_clusters(work, {name: cluster for name, cluster in CLUSTERS.items() if name != "c1"})
    identify(work)
    assert of_face(work, "c1") == of_face(work, "b1")


def test_a_decision_on_a_face_that_is_gone_is_counted_and_kept(work: Workspace) -> None:
    gone = decide("same", face_id=ID["a1"], other_face_id="f" * 32, annotator="ann", decided_at=NOON)
    with_decision_log(work, lambda log: log.append([gone]))
    assert _counts(work)["decisions_without_face"] == 1
    assert with_decision_log(work, lambda log: list(log.all())) == [gone]


def test_an_identity_that_the_machine_merged_gets_its_id_back_when_it_comes_apart(work: Workspace) -> None:
    identify(work)
    before = labels(work)
    publish_clusters(work, {**CLUSTERS, "b1": 0, "b2": 0, "b3": 0})
    identify(work)
    absorbed = {before["b1"].identity_id, before["a1"].identity_id} - {of_face(work, "a1")}
    assert {name for name, row in identities(work).items() if not row.is_active} == absorbed
    publish_clusters(work, CLUSTERS)
    identify(work)
    assert labels(work) == before
    assert all(row.is_active for row in identities(work).values())


def test_a_key_confirms_the_mates_of_a_face_that_people_named(work: Workspace) -> None:
    identify(work)
    _say(work, "is", "a1", identity=of_face(work, "a1"))
    publish_clusters(work, CLUSTERS, keys={"a1": 3, "a2": 3, "a3": 3})
    identify(work)
    assert [labels(work)[name].via for name in ("a1", "a2", "a3")] == ["face", "tracklet", "key"]


def test_an_event_is_applied_once_and_a_later_run_keeps_what_it_did(work: Workspace) -> None:
    identify(work)
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    same = decide("same", face_id=ID["a1"], other_face_id=ID["b1"], annotator="ann", decided_at=NOON)
    moved = tuple(ID[name] for name in ("b1", "b2", "b3"))
    merge = identity_event(
        "merge", identity_id=anna, other_identity_id=bert, face_ids=moved, decision_ids=(same.decision_id,),
        annotator="ann", happened_at=NOON,
    )  # fmt: skip
    with_identity_log(work, lambda log: log.append([merge], [same]))
    for clusters in ({**CLUSTERS, "b1": 0, "b2": 0, "b3": 0}, dict.fromkeys(CLUSTERS, 9)):
        publish_clusters(work, clusters)
        identify(work)
        assert of_face(work, "b3") == of_face(work, "a1") == anna
        assert identities(work)[bert].successor == anna


def _reviews(work: Workspace, count: int, wrong: int, confidence: float) -> None:
    rows = [
        Review(
            face_id=ID["a1"], identity_id="person-x", confidence=confidence - 1e-6 * number, run_id=f"r{number}",
            is_right=number >= wrong, annotator="ann", reviewed_at=NOON,
        )
        for number in range(count)
    ]  # fmt: skip
    with_identity_log(work, lambda log: log.append_reviews(rows))


def test_machine_labels_are_accepted_only_where_reviews_prove_them(work: Workspace) -> None:
    _reviews(work, 100, 0, 0.9)
    counts = _counts(work)
    assert (counts["accepted"], counts["reviews"]) == (0, 100)
    assert counts["reviews_missing"] == 598 - 100
    _reviews(work, 700, 0, 0.85)
    counts = _counts(work)
    assert counts["accepted"] == 6
    assert {labels(work)[name].state for name in ["a1", "b1", "b3"]} == {"confirmed"}
    assert labels(work)["a1"].source == "auto"


def test_reviews_of_another_recogniser_can_be_left_out(tmp_path: Path) -> None:
    since = "identify.auto_accept.reviews_since='2026-06-01T00:00:00+00:00'"
    work = make_root(tmp_path / "root", since)
    _reviews(work, 700, 0, 0.85)
    assert (_counts(work)["reviews"], _counts(work)["accepted"]) == (0, 0)
    with pytest.raises(ConfigError, match="a time without a zone"):
        make_root(tmp_path / "other", since.replace("+00:00", ""))


def test_confidence_becomes_the_probability_that_reviews_show(work: Workspace) -> None:
    _reviews(work, 400, 100, 0.9)
    identify(work)
    assert labels(work)["a1"].confidence == pytest.approx(0.75, abs=0.02)
    assert NAME[ID["a1"]] == "a1"


def test_ids_outlive_an_upgrade_from_the_first_layout(tmp_path: Path) -> None:
    labels = pa.table({"face_id": ["f1", "f2"], "identity_id": ["person-a", None], "state": ["proposed", "unknown"]})
    person = {
        "identity_id": "person-a", "is_active": True, "seed_face_id": "f1", "faces": 1, "tracklets": 1, "footage": 1,
        "subsets": 1, "best_face_id": "f1", "mean_confidence": 0.9, "successor": None,
    }  # fmt: skip
    pq.write_table(labels, tmp_path / "assignments.parquet")
    pq.write_table(pa.Table.from_pylist([person]), tmp_path / "identities.parquet")
    earlier = read_earlier(tmp_path)
    assert earlier.identity_of == {"f1": "person-a"}
    assert earlier.identities["person-a"].confirmed_faces == 0
    assert earlier.events_seen == frozenset()

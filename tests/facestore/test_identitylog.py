"""The identity log, on SQLite and on PostgreSQL: events with their decisions, and reviews."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import count

import pytest

from facestore.decisionlog import DecisionLog
from facestore.decisions import EventKind, IdentityEvent, Review, decide, identity_event
from facestore.errors import DataError
from facestore.identitylog import IdentityLog

NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
_scopes = count()


def _event(kind: EventKind, identity: str, minute: int = 0, undoes: str | None = None) -> IdentityEvent:
    return identity_event(
        kind,
        identity_id=identity,
        other_identity_id="person-2" if kind in ("merge", "split") else None,
        face_ids=("f2", "f1") if kind == "merge" else (),
        decision_ids=("d2", "d1"),
        undoes=undoes,
        name="Ada" if kind == "rename" else None,
        annotator="ann",
        happened_at=NOON + timedelta(minutes=minute),
        note="weil",
    )


def _review(face: str, minute: int = 0) -> Review:
    return Review(
        face_id=face,
        identity_id="person-1",
        confidence=0.1 + 0.2,
        run_id="r",
        is_right=False,
        annotator="ann",
        reviewed_at=NOON + timedelta(minutes=minute),
    )


@pytest.fixture
def log(url: str) -> Iterator[IdentityLog]:
    opened = IdentityLog(url)
    yield opened
    opened.close()


@pytest.fixture
def person() -> str:
    return f"person-of-test-{next(_scopes)}"


def test_events_come_back_as_they_happened_and_are_written_once(log: IdentityLog, person: str) -> None:
    rename, merge = _event("rename", person, 3), _event("merge", person, 1)
    assert log.append([rename, merge]) == 2
    assert log.append([merge]) == 0
    assert [event for event in log.all() if event.identity_id == person] == [merge, rename]
    assert log.find(merge.event_id) == merge
    assert log.find("never happened") is None


def test_an_undo_of_nothing_is_refused(log: IdentityLog, person: str) -> None:
    with pytest.raises(DataError, match="no event nothing to undo"):
        log.append([_event("merge", person), _event("undo", person, 1, undoes="nothing")])
    assert [event for event in log.all() if event.identity_id == person] == []
    merge = _event("merge", person)
    assert log.append([merge]) == 1
    assert log.append([_event("undo", person, 1, undoes=merge.event_id)]) == 1


def test_an_event_and_its_decisions_are_written_together_or_not_at_all(log: IdentityLog, url: str, person: str) -> None:
    said = decide("ignore", face_id=person, annotator="ann", decided_at=NOON)
    lost = decide("retract", retracts="nothing", annotator="ann", decided_at=NOON)
    decisions = DecisionLog(url)
    with pytest.raises(DataError):
        log.append([_event("split", person)], [said, lost])
    assert (log.find(_event("split", person).event_id), decisions.find(said.decision_id)) == (None, None)
    assert log.append([_event("split", person)], [said]) == 1
    assert decisions.find(said.decision_id) == said
    decisions.close()


def test_reviews_come_back_in_order_of_time_and_are_written_once(log: IdentityLog, person: str) -> None:
    late, early = _review(person, 2), _review(person, 1)
    east = replace(early, reviewed_at=early.reviewed_at.astimezone(timezone(timedelta(hours=8))))
    assert log.append_reviews([late, early, east]) == 2
    assert log.append_reviews([east]) == 0
    assert [review for review in log.reviews() if review.face_id == person] == [early, late]
    with pytest.raises(DataError, match="time zone"):
        log.append_reviews([replace(early, reviewed_at=datetime(2026, 5, 1))])  # noqa: DTZ001  # the point of it

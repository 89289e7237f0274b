"""The review log, on SQLite and on PostgreSQL: what is asked where, every version of every answer, all or none."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from facestore.decisionlog import DecisionLog
from facestore.decisions import decide
from facestore.errors import DataError, StoreError
from facestore.questions import (
    CLOSED,
    AnnotationVersion,
    Hint,
    Question,
    QuestionState,
    ReviewProject,
    ReviewTask,
    Settlement,
    TaskState,
)
from facestore.reviewlog import ReviewLog

NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
_scopes = count()


@pytest.fixture
def log(url: str) -> Iterator[ReviewLog]:
    opened = ReviewLog(url)
    yield opened
    opened.close()


@pytest.fixture
def scope() -> str:
    """A prefix of ids of this test: the server's database is shared, and answers cannot be taken out of it."""
    return f"t{next(_scopes)}-"


def question(name: str, **changes: object) -> Question:
    plain = Question(
        question_id=name,
        kind="same_person",
        subject='{"left": "a"}',
        subset="s",
        reason="bridge",
        reason_detail="",
        model_version="run 1",
        chance=0.7,
        gain=3.0,
        seconds=4.0,
        needs=1,
        expected=None,
        rank=5,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def project(key: str, **changes: object) -> ReviewProject:
    plain = ReviewProject(
        key=key,
        instance="here",
        project_id=7,
        kind="same_person",
        round=1,
        overlap=1,
        config_sha256="0" * 64,
        model_version="run 1",
        created_at=NOON,
        is_open=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def asking(name: str, key: str, **changes: object) -> ReviewTask:
    plain = ReviewTask(
        question_id=name,
        round=1,
        project_key=key,
        task_id=None,
        state="planned",
        changed_at=NOON,
        model_version="run 1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def version(name: str, key: str, number: int = 1, **changes: object) -> AnnotationVersion:
    plain = AnnotationVersion(
        project_key=key,
        unique_id=f"{name} one",
        version=number,
        annotation_id=3,
        task_id=11,
        question_id=name,
        annotator="here/1",
        state="answered",
        answer='{"verdict": "same"}',
        detail="",
        updated_at=NOON,
        lead_time_s=2.5,
        digest=f"d{number}",
        seen_at=LATER,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def came_to(name: str, state: QuestionState, *decision_ids: str) -> Settlement:
    return Settlement(question_id=name, state=state, decision_ids=decision_ids, changed_at=NOON)


@pytest.fixture
def asked(log: ReviewLog, scope: str) -> str:
    """The name of a question, asked in a project of the same name."""
    name = f"{scope}q"
    log.offer([question(name)], at=NOON)
    log.add_project(project(name))
    log.plan([asking(name, name, task_id=11, state="pushed")])
    return name


def test_questions_come_back_by_rank_as_they_were_offered(log: ReviewLog, scope: str) -> None:
    late, early = question(f"{scope}a", rank=9), question(f"{scope}b", rank=2, expected='{"x": "真"}')
    assert log.offer([late, early], at=NOON) == 2
    assert list(log.questions([late.question_id, early.question_id, "never"])) == [early, late]
    assert log.offered_at()[late.question_id] == NOON
    assert {late, early} <= set(log.questions())


def test_an_offer_changes_what_nobody_was_asked_and_only_rank_and_gain_of_what_waits(
    log: ReviewLog, asked: str, scope: str
) -> None:
    log.offer([question(f"{scope}new")], at=NOON)
    changes = {"subject": '{"left": "z"}', "model_version": "run 2", "rank": 1, "gain": 8.0, "needs": 2}
    assert log.offer([question(f"{scope}new", **changes), question(asked, **changes)], at=LATER) == 0
    found = {one.question_id: one for one in log.questions([asked, f"{scope}new"])}
    assert found[f"{scope}new"] == question(f"{scope}new", **{**changes, "needs": 1})
    assert found[asked] == question(asked, rank=1, gain=8.0)
    assert log.offered_at()[f"{scope}new"] == NOON


def test_a_revision_replaces_what_a_waiting_question_suggests_but_no_answered_one(log: ReviewLog, asked: str) -> None:
    newer = question(asked, chance=0.1, model_version="run 2")
    log.revise([newer])
    assert list(log.questions([asked])) == [newer]
    log.record([version(asked, asked)], [], [])
    log.revise([question(asked)])
    log.offer([question(asked, rank=0, gain=9.0)], at=LATER)
    assert list(log.questions([asked])) == [newer]


def test_a_withdrawn_question_may_change_again(log: ReviewLog, asked: str) -> None:
    log.change_tasks([asking(asked, asked, state="withdrawn")])
    log.offer([question(asked, subject='{"left": "z"}')], at=LATER)
    assert [one.subject for one in log.questions([asked])] == ['{"left": "z"}']


def test_a_project_key_is_given_once(log: ReviewLog, scope: str) -> None:
    log.add_project(project(f"{scope}p"))
    with pytest.raises(DataError, match="is known already"):
        log.add_project(project(f"{scope}p", project_id=8))
    log.change_project(f"{scope}p", is_open=False, model_version="run 2")
    (found,) = [one for one in log.projects() if one.key == f"{scope}p"]
    assert found == project(f"{scope}p", is_open=False, model_version="run 2")


def test_only_new_askings_may_be_made(log: ReviewLog, asked: str) -> None:
    again = [asking(asked, asked), asking(asked, asked, asking=2), asking(asked, asked, round=2)]
    assert log.plan(again) == again[1:]
    assert log.plan(again) == []
    assert [(task.round, task.asking) for task in log.tasks(question_ids=[asked])] == [(1, 1), (1, 2), (2, 1)]


def test_tasks_are_found_by_state_project_and_question(log: ReviewLog, asked: str) -> None:
    log.plan([asking(asked, asked, round=2)])
    assert [task.round for task in log.tasks(states={"planned"}, project_key=asked)] == [2]
    assert [task.round for task in log.tasks(question_ids=[asked], states={"pushed"})] == [1]
    log.change_tasks([asking(asked, asked, round=2, task_id=12, state="pushed", model_version="run 2")])
    assert [task.model_version for task in log.tasks(question_ids=[asked])] == ["run 1", "run 2"]
    with pytest.raises(DataError, match="was not planned for round 5"):
        log.change_tasks([asking(asked, asked, round=1, state="lost"), asking(asked, asked, round=5)])
    assert {task.state for task in log.tasks(question_ids=[asked])} == {"pushed"}


def test_a_task_of_the_tool_belongs_to_one_asking(log: ReviewLog, asked: str) -> None:
    with pytest.raises(StoreError, match="cannot plan"):
        log.plan([asking(asked, asked, round=2, task_id=11)])


@pytest.mark.parametrize("state", ["lost", "withdrawn"])
def test_an_id_that_the_tool_gives_again_leaves_the_asking_that_had_it(
    log: ReviewLog, asked: str, state: TaskState
) -> None:
    log.change_tasks([asking(asked, asked, task_id=11, state=state)])
    log.plan([asking(asked, asked, asking=2)])
    log.change_tasks([asking(asked, asked, asking=2, task_id=11, state="pushed")])
    assert [(task.state, task.task_id) for task in log.tasks(question_ids=[asked])] == [(state, None), ("pushed", 11)]


@pytest.mark.parametrize("state", ["open", "unsettled", "disputed", *CLOSED])
def test_closed_questions_wait_for_nobody(log: ReviewLog, asked: str, state: QuestionState) -> None:
    log.record([], [came_to(asked, state)], [])
    assert (asked in {task.question_id for task in log.waiting()}) == (state not in CLOSED)


def test_the_latest_version_is_how_an_answer_stands_and_all_are_kept(log: ReviewLog, asked: str) -> None:
    first, second = version(asked, asked), version(asked, asked, 2, state="deleted", answer=None)
    log.record([first], [], [])
    log.record([first, second], [], [])
    assert log.annotations(question_ids=[asked]) == log.annotations(project_key=asked) == [second]
    assert [one for one in log.versions() if one.question_id == asked] == [first, second]


def test_a_version_that_skips_one_or_contradicts_one_writes_nothing(log: ReviewLog, asked: str) -> None:
    log.record([version(asked, asked)], [], [])
    said = decide("ignore", face_id=f"{asked} face", annotator="here/1", decided_at=NOON)
    with pytest.raises(DataError, match="skip a version"):
        log.record([version(asked, asked, 3)], [came_to(asked, "settled")], [said])
    with pytest.raises(DataError, match="known with other"):
        log.record([version(asked, asked, digest="other")], [came_to(asked, "settled")], [said])
    assert log.settlements([asked]) == {}
    assert len(log.annotations(question_ids=[asked])) == 1


def test_answers_and_their_decisions_are_written_together_or_not_at_all(log: ReviewLog, url: str, asked: str) -> None:
    said = decide("ignore", face_id=f"{asked} face", annotator="here/1", decided_at=NOON)
    lost = decide("retract", retracts=f"{asked} no such", annotator="here/1", decided_at=NOON)
    with pytest.raises(DataError, match="to retract"):
        log.record([version(asked, asked)], [came_to(asked, "settled", said.decision_id)], [said, lost])
    assert (log.annotations(question_ids=[asked]), log.settlements([asked])) == ([], {})
    assert log.record([version(asked, asked)], [came_to(asked, "settled", said.decision_id)], [said]) == 1
    assert log.record([version(asked, asked)], [came_to(asked, "settled", said.decision_id)], [said]) == 0
    assert log.settlements([asked]) == {asked: came_to(asked, "settled", said.decision_id)}
    decisions = DecisionLog(url)
    assert list(decisions.of_face(f"{asked} face")) == [said]
    decisions.close()


def test_hints_wait_in_order_until_they_are_dropped(log: ReviewLog) -> None:
    log.drop_hints([hint.hint_id or 0 for hint in log.hints()])
    hints = [
        Hint(hint_id=None, project_id=1, task_id=task, annotation_id=None, action="x", received_at=NOON)
        for task in (5, 4, 5)
    ]
    log.take_hints(hints)
    found = log.hints()
    assert [hint.task_id for hint in found] == [5, 4, 5]
    log.drop_hints([found[0].hint_id or 0])
    assert log.hints() == found[1:]
    log.drop_hints([hint.hint_id or 0 for hint in found])
    assert log.hints() == []

"""`review pull` against a stand-in: what people said arrives once, edits and deletions follow, nothing else does."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from facereview.answers.consensus import Trust
from facereview.answers.reconcile import pull
from facereview.kinds import SamePersonAnswer
from facereview.server import ServerTask
from facestore.errors import ServerAway, ServerGone
from facestore.questions import Hint, Question
from facestore.reviewlog import ReviewLog

from .review_world import (
    NOW,
    SCHEMA,
    TRUST,
    World,
    faults,
    make_world,
    odd_ones_out,
    pulled,
    push,
    same_person,
    sorted_out,
    standing,
    truth,
    verdict,
)
from .stand_in import START, StandIn, away

CLEAN = {"lost": 0, "doubled": 0, "forged": 0}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path, [same_person(number) for number in range(12)], project_tasks=5)
    yield made
    made.log.close()


def _task(world: World, question: Question, round_number: int = 1) -> int:
    return world.task_ids[question.question_id, round_number]


def _ask(world: World, number: int) -> Question:
    return world.questions[same_person(number).question_id]


def _state(world: World, question: Question) -> str:
    return world.log.settlements([question.question_id])[question.question_id].state


def test_an_answer_becomes_a_decision_that_cites_question_annotation_and_version(world: World) -> None:
    question = _ask(world, 3)
    unique_id = world.server.answer(_task(world, question), 7, verdict("same"))
    done = world.pull()
    (said,) = world.decisions()
    assert (said.verb, said.face_id, said.other_face_id) == ("same", "a003", "b003")
    assert (said.annotator, said.decided_at) == ("stand-in/7", START)
    assert (said.question_id, said.annotation_id, said.annotation_version) == (question.question_id, unique_id, 1)
    assert (done.closed, done.decisions, dict(done.versions)) == ((question.question_id,), 1, {"answered": 1})
    assert _state(world, question) == "settled"
    (version,) = world.log.versions()
    assert (version.annotation_id, version.lead_time_s, version.answer) == (1, 2.5, '{"verdict":"same"}')


def test_to_pull_again_writes_nothing(world: World) -> None:
    world.server.answer(_task(world, _ask(world, 0)), 7, verdict("same"))
    world.pull()
    before = world.decisions(), list(world.log.versions())
    done = world.pull()
    assert (done.decisions, done.retracts, dict(done.versions), done.closed) == (0, 0, {}, ())
    assert (world.decisions(), list(world.log.versions())) == before


def test_an_edit_is_a_version_and_takes_back_what_was_decided_in_the_name_of_who_edited(world: World) -> None:
    question = _ask(world, 0)
    unique_id = world.server.answer(_task(world, question), 7, verdict("same"))
    world.pull()
    world.server.wait()
    world.server.edit(unique_id, verdict("left_unusable"))
    done = world.pull(full=False)
    assert (done.decisions, done.retracts) == (2, 1)
    assert faults(world.decisions(), truth(world)) == CLEAN
    (retract,) = (one for one in world.decisions() if one.verb == "retract")
    assert (retract.annotator, retract.note) == ("stand-in/7", "its annotation was changed")
    assert [version.version for version in world.log.versions()] == [1, 2]


@pytest.mark.parametrize("how", ["remove", "remove_task", "skip", "unsure"])
def test_what_is_no_answer_any_more_is_taken_back(world: World, how: str) -> None:
    question = _ask(world, 0)
    unique_id = world.server.answer(_task(world, question), 7, verdict("same"))
    world.pull()
    world.server.wait()
    if how == "remove":
        world.server.remove(unique_id)
    elif how == "remove_task":
        world.server.remove_task(_task(world, question))
    elif how == "skip":
        world.server.edit(unique_id, verdict("same"), is_skipped=True)
    else:
        world.server.edit(unique_id, verdict("unsure"))
    done = world.pull()
    assert standing(world.decisions()) == {}
    assert _state(world, question) == ("no_answer" if how == "unsure" else "open")
    assert done.reopened == (() if how == "unsure" else (question.question_id,))
    assert world.pull().retracts == 0


def test_a_deleted_annotation_is_found_without_a_hint_by_the_time_of_its_task(world: World) -> None:
    unique_id = world.server.answer(_task(world, _ask(world, 0)), 7, verdict("same"))
    world.pull()
    world.server.wait(3600)
    world.server.remove(unique_id)
    assert world.pull(full=False).retracts == 1


def test_a_deleted_task_is_found_by_a_hint_at_once_and_by_a_full_sweep_without(world: World) -> None:
    for number in (0, 1):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    world.pull()
    world.server.wait(3600)
    for number in (0, 1):
        world.server.remove_task(_task(world, _ask(world, number)))
    hint = Hint(
        hint_id=None, project_id=1, task_id=_task(world, _ask(world, 0)), annotation_id=None, action="TASKS_DELETED",
        received_at=NOW,
    )  # fmt: skip
    world.log.take_hints([hint])
    assert world.pull(full=False, only_hinted=True).retracts == 1
    assert world.log.hints() == []
    assert world.pull(full=False).retracts == 0
    assert world.pull().retracts == 1
    assert {task.state for task in world.log.tasks() if task.question_id in (
        _ask(world, 0).question_id, _ask(world, 1).question_id)} == {"lost"}  # fmt: skip


def test_a_decision_that_stands_again_gets_an_id_of_its_own_since_its_former_one_is_retracted(tmp_path: Path) -> None:
    question = same_person(0, chance=0.2)  # an answer `same` needs a second
    world = make_world(tmp_path, [question], rounds=2)
    world.server.answer(_task(world, question, 1), 1, verdict("same"))
    second = world.server.answer(_task(world, question, 2), 2, verdict("same"))
    for change in (None, "different", "same"):
        if change is not None:
            world.server.wait()
            world.server.edit(second, verdict(change))
        world.pull()
        assert faults(world.decisions(), truth(world)) == CLEAN
    third = world.server.answer(_task(world, question, 1), 3, verdict("different"))
    world.pull()
    world.server.wait()
    world.server.remove(third)
    world.pull()
    assert sum(standing(world.decisions()).values()) == 2
    assert faults(world.decisions(), truth(world)) == CLEAN
    world.log.close()


def test_a_hand_edited_task_is_quarantined_while_what_it_showed_cannot_be_told(world: World) -> None:
    first, second = _ask(world, 0), _ask(world, 1)
    world.server.answer(_task(world, first), 7, verdict("same"))
    world.pull()
    world.server.edit_data(_task(world, first), question_id=second.question_id)
    assert world.pull().retracts == 0  # it was given before somebody edited the task
    world.server.wait()
    world.server.answer(_task(world, first), 8, verdict("different"))
    done = world.pull()
    assert dict(done.versions) == {"unreadable": 1}
    assert done.remarks["unreadable"] == 1
    assert _state(world, first) == "settled"
    assert second.question_id not in world.log.settlements()
    world.server.edit_data(_task(world, first), question_id=first.question_id)
    assert dict(world.pull().versions) == {"answered": 1}
    assert faults(world.decisions(), truth(world)) == CLEAN


@pytest.mark.parametrize(
    "result", [(), (*verdict("same"), *verdict("same")), verdict("perhaps"), ("nonsense",), (float("nan"),)]
)
def test_a_result_that_cannot_be_read_is_kept_aside_with_the_reason_and_said_once(
    world: World, result: tuple[str, ...]
) -> None:
    world.server.answer(_task(world, _ask(world, 0)), 7, result)
    assert dict(world.pull().versions) == {"unreadable": 1}
    assert dict(world.pull().versions) == {}
    (version,) = world.log.versions()
    assert version.detail
    assert world.decisions() == []


def test_the_answers_to_a_honeypot_are_kept_and_decide_nothing(tmp_path: Path) -> None:
    trap = same_person(0, needs=2, expected=SamePersonAnswer(verdict="same"))
    world = make_world(tmp_path, [trap])
    world.server.answer(_task(world, trap), 1, verdict("same"))
    world.pull()
    assert _state(world, trap) == "unsettled"
    world.server.answer(_task(world, trap), 2, verdict("different"))
    assert world.pull().closed == (trap.question_id,)
    assert world.decisions() == []
    assert len(list(world.log.versions())) == 2
    world.log.close()


def test_claims_about_a_face_that_is_not_known_make_no_decision_and_are_counted(tmp_path: Path) -> None:
    question = odd_ones_out(1)
    world = make_world(tmp_path, [question])
    unique_id = world.server.answer(_task(world, question), 1, sorted_out([2]))
    done = pulled(world.log, world.server, is_known_face=lambda face: face != "m001-2")
    assert {one.other_face_id for one in world.decisions()} | {one.face_id for one in world.decisions()} == {
        "m001-0", "m001-1", "r001",
    }  # fmt: skip
    assert done.remarks["unknown_face"] == 1
    world.server.wait()
    world.server.edit(unique_id, sorted_out([2, 1]))
    pulled(world.log, world.server, is_known_face=lambda _: False)
    assert standing(world.decisions()) == {}  # the first answer stands no more, the second cannot
    world.log.close()


def test_a_face_that_is_erased_later_takes_nothing_back(tmp_path: Path) -> None:
    question = same_person(0)
    world = make_world(tmp_path, [question], rounds=2)
    world.server.answer(_task(world, question), 1, verdict("same"))
    world.pull()
    world.server.answer(_task(world, question, 2), 2, verdict("same"))
    done = pulled(world.log, world.server, is_known_face=lambda _: False)
    assert (done.decisions, done.retracts) == (0, 0)
    assert sum(standing(world.decisions()).values()) == 1
    world.log.close()


def test_what_the_machine_thinks_of_an_annotator_later_takes_nothing_back(world: World) -> None:
    for number in range(3):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    world.pull()
    wary = Trust(certainty=0.9, error_rate=0.03, error_rates={"stand-in/7": 0.5})
    assert pulled(world.log, world.server, trust=wary).retracts == 0
    world.server.answer(_task(world, _ask(world, 4)), 7, verdict("same"))
    assert pulled(world.log, world.server, trust=wary).decisions == 0
    assert _state(world, _ask(world, 4)) == "unsettled"


@pytest.mark.parametrize("what", ["deleted", "given away", "description", "other server"])
def test_a_project_that_is_not_there_any_more_takes_nothing_back(world: World, what: str) -> None:
    world.server.answer(_task(world, _ask(world, 0)), 7, verdict("same"))
    world.pull()
    before = world.decisions()
    server = world.server
    if what == "description":
        server.projects_by_id[1] = replace(server.projects_by_id[1], description="mine")
    elif what == "other server":
        server.instance = "restored"
    else:
        for project_id in sorted(server.projects_by_id):
            server.delete_project(project_id)
    if what == "given away":  # somebody else's project and tasks, with our ids
        other = [same_person(number) for number in range(100, 112)]
        for some in (other[:5], other[5:10], other[10:]):
            push(_other_log(), server, some, f"{100:016x}")
        server.answer(_task(world, _ask(world, 0)), 7, verdict("different"))
    said: list[str] = []
    done = pulled(world.log, server, say=said.append)
    assert (done.decisions, done.retracts, dict(done.versions)) == (0, 0, {})
    assert done.remarks["project_gone"] == (1 if what == "description" else 3)
    assert any("what was said stays" in line for line in said)
    assert world.decisions() == before


def _other_log() -> ReviewLog:
    log = ReviewLog("sqlite://")
    log.offer([same_person(number) for number in range(100, 112)], at=NOW)
    return log


def test_a_server_that_was_put_back_to_an_earlier_state_takes_nothing_back(world: World) -> None:
    server = world.server
    older = {task_id: replace(task, annotations={}) for task_id, task in server.tasks_by_id.items()}
    server.wait(7200)
    for number in range(3):
        server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    world.pull()
    older.pop(_task(world, _ask(world, 2)))  # was pushed after the copy was made
    server.tasks_by_id = older
    said: list[str] = []
    done = pulled(world.log, server, say=said.append)
    assert (done.retracts, dict(done.versions)) == (0, {})
    assert done.remarks["older_than_known"] == 3
    assert any("earlier state" in line for line in said)
    server.wait(60)
    server.answer(_task(world, _ask(world, 0)), 8, verdict("same"))  # life goes on there
    done = world.pull()
    assert (done.decisions, sum(standing(world.decisions()).values())) == (1, 3)


def test_a_task_that_a_list_leaves_out_is_asked_for_before_it_counts_as_deleted(world: World) -> None:
    for number in range(12):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    world.pull()
    big = make_world_of_one_project(world)
    victims = iter([_task(big, _ask(big, 0))])

    def somebody_deletes() -> None:
        for task_id in victims:
            big.server.remove_task(task_id)

    big.server.between_pages = somebody_deletes
    done = big.pull()
    assert done.retracts <= 1
    assert big.pull().retracts + done.retracts == 1
    assert faults(big.decisions(), truth(big)) == CLEAN
    big.log.close()


def make_world_of_one_project(world: World) -> World:
    folder = Path(world.url.removeprefix("sqlite:///")).parent / "big"
    folder.mkdir()
    big = make_world(folder, list(world.questions.values()), project_tasks=100)
    for question in big.questions.values():
        big.server.answer(_task(big, question), 7, verdict("same"))
    big.pull()
    return big


def test_answers_to_tasks_that_others_made_in_our_project_are_left_alone_and_told(world: World) -> None:
    copied = world.server.create_tasks(1, [])
    assert copied == {}
    draft = world.server.tasks_by_id[_task(world, _ask(world, 0))]
    world.server.tasks_by_id[999] = replace(draft, data=dict(draft.data), annotations={})
    world.server.answer(999, 7, verdict("different"))
    said: list[str] = []
    done = pulled(world.log, world.server, say=said.append)
    assert (dict(done.versions), done.remarks["unknown_task"]) == ({}, 1)
    assert any("that we did not make" in line for line in said)


def test_a_server_that_is_away_leaves_hints_and_logs_as_they_are(world: World) -> None:
    world.log.take_hints([Hint(hint_id=None, project_id=1, task_id=1, annotation_id=None, action="x", received_at=NOW)])
    world.server.before_call = away
    with pytest.raises(ServerAway):
        world.pull()
    assert len(world.log.hints()) == 1


def test_one_project_that_cannot_be_read_does_not_keep_the_others_waiting(world: World) -> None:
    class OneIsBroken(StandIn):
        def tasks(self, project_id: int, **other: object) -> Iterator[ServerTask]:
            if project_id == 1:
                raise ServerAway("project 1 answers 500")
            return super().tasks(project_id, **other)  # type: ignore[arg-type]

    broken = OneIsBroken()
    broken.__dict__.update(world.server.__dict__)
    for number in (0, 11):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    world.log.take_hints([Hint(hint_id=None, project_id=1, task_id=1, annotation_id=None, action="x", received_at=NOW)])
    done = pulled(world.log, broken)
    assert (done.decisions, len(done.failed), done.projects) == (1, 1, 2)
    assert len(world.log.hints()) == 1
    assert world.pull().decisions == 1


def test_a_project_that_goes_while_it_is_read_takes_nothing_back(world: World) -> None:
    big = make_world_of_one_project(world)

    def vanish() -> None:
        raise ServerGone("no project 1")

    big.server.between_pages = vanish
    done = big.pull()
    assert (done.retracts, done.remarks["project_gone"]) == (0, 1)
    big.log.close()


def test_two_pulls_at_once_write_what_one_would(world: World) -> None:
    for number in range(12):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    failed: list[BaseException] = []

    def one() -> None:
        log = ReviewLog(world.url)
        try:
            pulled(log, world.server)
        except BaseException as error:
            failed.append(error)
        log.close()

    threads = [Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(world.decisions()) == 12
    assert faults(world.decisions(), truth(world)) == CLEAN


def test_messages_and_logs_name_no_person_and_no_content_of_a_task(world: World) -> None:
    world.server.edit_data(_task(world, _ask(world, 0)), question_id="Jane Doe", name="Jane Doe")
    world.server.answer(_task(world, _ask(world, 0)), 7, verdict("same"))
    said: list[str] = []
    pulled(world.log, world.server, say=said.append)
    (version,) = world.log.versions()
    assert "Jane" not in " ".join([*said, version.detail])


def test_each_project_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the second project is recorded, the first is complete and the next pull does the rest."""
    for number in range(12):
        world.server.answer(_task(world, _ask(world, number)), 7, verdict("same"))
    record: Callable[..., int] = ReviewLog.record
    calls: list[int] = []

    def dies(self: ReviewLog, *given: object) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return record(self, *given)

    monkeypatch.setattr(ReviewLog, "record", dies)
    with pytest.raises(KeyboardInterrupt):
        pull(
            log=world.log, server=world.server, schema=SCHEMA, trust=TRUST, is_known_face=lambda _: True,
            now=lambda: NOW, full=False, say=lambda _: None,
        )  # fmt: skip
    assert len(world.decisions()) == 5
    assert world.pull(full=False).decisions == 7
    assert faults(world.decisions(), truth(world)) == CLEAN

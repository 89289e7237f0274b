"""withdraw: what is moot leaves the tool; what people said or began stays."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facereview.asking.withdraw import Withdrawn, put_away, sweep_shelf, withdraw
from facestore.errors import ServerAway
from facestore.questions import Question

from .paper_server import NOON, Clockwork, Killed, pair, pairs
from .push_world import World, ids


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.log.close()


def withdrawn(world: World, questions: list[Question]) -> Withdrawn:
    return withdraw(ids(questions), log=world.log, server=world.server, shelf=world.shelf, now=NOON)


def test_a_moot_question_takes_its_task_and_pictures_with_it(world: World) -> None:
    questions = pairs(3)
    world.push(questions)
    assert withdrawn(world, questions[:1]).question_ids == (questions[0].question_id,)
    assert world.server.asked() == ids(questions[1:])
    assert world.shelf.held() == set(ids(questions[1:]))
    assert world.log.settlements()[questions[0].question_id].state == "withdrawn"
    assert world.task_of(questions[0]).state == "withdrawn"


def test_what_was_answered_begun_or_settled_stays(world: World) -> None:
    drafted, skipped, seen, pulled, settled, moot = questions = pairs(6)
    world.push(questions)
    for question, touch in ((drafted, world.server.begin), (seen, world.server.answer)):
        touch(world.task_of(question).task_id or 0)
    world.server.answer(world.task_of(skipped).task_id or 0, is_skipped=True)
    world.pulled(pulled, "unsettled")
    world.pulled(settled, "settled")
    stranger = pair("x", "y")
    found = withdrawn(world, [*questions, stranger])
    assert found.question_ids == (moot.question_id,)
    assert found.kept == {
        drafted.question_id: "begun",
        skipped.question_id: "begun",
        seen.question_id: "begun",
        pulled.question_id: "answered",
        settled.question_id: "closed",
        stranger.question_id: "unknown",
    }
    assert world.server.asked() == ids(questions[:5])


def test_a_question_that_waits_for_room_is_withdrawn_without_the_server(tmp_path: Path) -> None:
    world = World(tmp_path, backlog=1)
    questions = pairs(2)
    world.push(questions)
    withdrawn(world, questions[1:])
    world.pulled(questions[0], "settled")
    assert world.push(questions[:1]).new == 0
    assert world.server.asked() == ids(questions[:1])
    world.log.close()


def test_a_withdrawn_question_that_the_plan_brings_back_is_asked_again(world: World) -> None:
    questions = pairs(2)
    world.push(questions)
    withdrawn(world, questions[1:])
    world.server._next_task -= 1  # SQLite gives the newest task's id away again
    assert world.push(questions).new == 1
    assert world.server.asked() == ids(questions)
    assert world.log.settlements()[questions[1].question_id].state == "open"
    assert [task.asking for task in world.log.tasks(question_ids=[questions[1].question_id])] == [1, 2]


def test_a_task_of_others_under_the_same_id_is_never_deleted(world: World) -> None:
    (question,) = pairs(1)
    world.push([question])
    task_id = world.task_of(question).task_id or 0
    world.server.sheets[task_id] = replace(world.server.sheets[task_id], question_id="somebody else's")
    withdrawn(world, [question])
    assert list(world.server.sheets) == [task_id]


def test_a_server_that_is_away_leaves_the_rest_for_the_next_time(world: World) -> None:
    questions = pairs(3)
    world.push(questions)
    world.server.clockwork = Clockwork(at=2, error=ServerAway("no answer"))  # projects, delete, delete
    with pytest.raises(ServerAway):
        withdrawn(world, questions)
    world.server.clockwork = Clockwork()
    withdrawn(world, questions)
    assert world.server.asked() == []
    assert {settlement.state for settlement in world.log.settlements().values()} == {"withdrawn"}
    assert world.push([]).again == 0


def test_after_a_pull_leftover_tasks_and_pictures_of_closed_questions_go(world: World) -> None:
    (question, waiting) = pairs(2)
    world.push([question, waiting])
    world.pulled(question, "unsettled")
    world.push([question, waiting])  # round 2 waits for its annotator
    world.pulled(question, "settled", round_number=1, annotator="paper/2")
    assert put_away(ids([question, waiting]), log=world.log, server=world.server, shelf=world.shelf, now=NOON) == 1
    assert world.server.asked() == ids([question, waiting])  # the answered one of round 1 and the one that waits
    assert [task.state for task in world.log.tasks(question_ids=[question.question_id])] == ["pushed", "withdrawn"]
    assert world.shelf.held() == {waiting.question_id}


def test_leftovers_on_the_shelf_are_swept(world: World) -> None:
    world.push(pairs(1))
    world.shelf.put("0123", 0, b"left by a kill")
    assert sweep_shelf(world.log, world.shelf) == 1
    assert world.shelf.held() == set(ids(pairs(1)))


@given(st.data())
@settings(max_examples=15)
def test_pushes_and_withdrawals_that_fail_anywhere_agree_in_the_end(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    world = World(tmp_path_factory.mktemp("world"), url="sqlite://")
    questions = pairs(4)
    for _ in range(data.draw(st.integers(1, 5))):
        world.server.clockwork = Clockwork(at=data.draw(st.integers(0, 12)), is_after=data.draw(st.booleans()))
        some = [question for question in questions if data.draw(st.booleans())]
        with suppress(Killed):
            world.push(some) if data.draw(st.booleans()) else withdrawn(world, some)
    world.server.clockwork = Clockwork()
    moot = [question for question in questions if data.draw(st.booleans())]
    world.push(questions)
    withdrawn(world, moot)
    world.push([])
    assert world.server.asked() == ids(question for question in questions if question not in moot)
    assert world.shelf.held() == set(world.server.asked())
    world.log.close()

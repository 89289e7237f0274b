"""push: wherever it was killed and whatever became of the server, each question ends as one task."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facereview.asking.survey import give_up
from facereview.server import TaskDraft
from facestore.errors import ServerAway, ServerRefused
from facestore.reviewlog import ReviewLog

from .paper_server import NOON, Clockwork, Killed, PaperServer, grid, pair, pairs, whose
from .push_world import World, ids


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.log.close()


@pytest.mark.parametrize("is_after", [False, True])
def test_a_push_killed_at_any_call_to_the_server_is_completed_by_the_next(tmp_path: Path, is_after: bool) -> None:
    questions = [*pairs(4), grid("a", ["b", "c"], rank=4), pair("x", "y", needs=2, rank=5)]
    at = 0
    while True:
        world = World(tmp_path / str(at))
        world.server.clockwork = Clockwork(at=at, is_after=is_after)
        try:
            world.push(questions)
        except Killed:
            world.server.clockwork = Clockwork()
            world.push(questions)
        else:
            break
        finally:
            world.log.close()
        world = replaced_log(world, tmp_path / str(at))
        assert world.server.asked() == ids(questions), at
        assert all(task.state == "pushed" for task in world.log.tasks()), at
        assert len(world.log.tasks()) == len(questions), at
        assert len(world.server.papers) == len(world.log.projects()), at
        assert set(world.connected) == set(world.server.papers), at
        world.log.close()
        at += 1
    assert at >= 8


def replaced_log(world: World, folder: Path) -> World:
    world.log = ReviewLog(f"sqlite:///{folder / 'catalogue.sqlite3'}")
    return world


@pytest.mark.parametrize("name", ["offer", "add_project", "plan", "change_tasks", "change_project", "alone", "record"])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_push_killed_at_any_write_of_the_log_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, is_after: bool
) -> None:
    questions = [*pairs(4), grid("a", ["b", "c"], rank=4)]
    for at in range(6):
        world = World(tmp_path / str(at))
        clockwork, method = Clockwork(at=at, is_after=is_after), getattr(ReviewLog, name)
        with monkeypatch.context() as patch:
            patch.setattr(ReviewLog, name, lambda *args, **kwargs: clockwork.run(method, *args, **kwargs))  # noqa: B023
            try:
                world.push(questions)
            except Killed:
                assert clockwork.calls == at + 1
        world.push(questions)
        assert world.server.asked() == ids(questions), at
        assert [task.state for task in world.log.tasks()] == ["pushed"] * len(questions), at
        world.log.close()


def test_a_server_that_is_away_says_so_and_a_later_push_completes(world: World) -> None:
    for at, error in ((0, ServerRefused("token expired")), (2, ServerAway("no answer")), (3, ServerAway("500"))):
        world.server.clockwork = Clockwork(at=at, error=error)
        with pytest.raises(type(error)):
            world.push(pairs(5))
    world.server.clockwork = Clockwork()
    world.push(pairs(5))
    assert world.server.asked() == ids(pairs(5))


def test_tasks_that_a_slow_server_makes_after_we_gave_up_are_taken_away_again(world: World) -> None:
    world.server.is_slow = True
    with pytest.raises(ServerAway):
        world.push(pairs(2))
    world.server.is_slow = False
    assert world.push(pairs(2)).doubles == 2
    assert world.server.asked() == ids(pairs(2))


def test_a_double_that_somebody_answered_stays_and_counts_as_an_asking(world: World) -> None:
    (question,) = pairs(1)
    world.push([question])
    (sheet,) = world.server.sheets.values()
    copy = world.server.add(1, TaskDraft(question_id=question.question_id, data=sheet.data, prediction=None))
    world.server.answer(copy)
    world.push([question])
    assert [(task.task_id, task.asking) for task in world.log.tasks()] == [(sheet.task_id, 1), (copy, 2)]
    assert len(world.server.sheets) == 2


def test_a_deleted_project_has_its_open_questions_asked_again_elsewhere(world: World) -> None:
    questions = pairs(3)
    world.push(questions)
    world.pulled(questions[0], "settled")
    world.server.delete_project(1)
    pushed = world.push(questions)
    assert (pushed.lost, pushed.again, pushed.new) == (2, 2, 0)
    assert world.server.asked() == ids(questions[1:])
    assert any("project 1 is gone" in line for line in world.said)
    assert [task.state for task in world.log.tasks(question_ids=[questions[1].question_id])] == ["lost", "pushed"]
    assert [task.asking for task in world.log.tasks(question_ids=[questions[1].question_id])] == [1, 2]
    assert world.push(questions).again == 0


def test_a_project_whose_id_belongs_to_another_now_is_never_written_into(world: World) -> None:
    world.push(pairs(2))
    world.server.papers[1] = replace(world.server.papers[1], description="somebody's own", title="Cats and dogs")
    before = [task for task in world.server.sheets.values() if task.project_id == 1]
    world.push(pairs(3))
    assert [task for task in world.server.sheets.values() if task.project_id == 1] == before
    assert sum(task.project_id == 2 for task in world.server.sheets.values()) == 3


def test_a_task_that_was_deleted_by_hand_is_asked_again_even_under_the_same_id(world: World) -> None:
    questions = pairs(3)
    world.push(questions[:2])
    last = world.task_of(questions[1]).task_id
    assert last is not None
    world.server.delete_task(last)
    world.server._next_task = last  # SQLite gives the id away again
    assert world.push(questions).again == 1
    assert world.server.asked() == ids(questions)
    assert world.push(questions).known == 3


def test_a_lost_task_that_comes_back_with_an_answer_counts_and_without_one_goes(world: World) -> None:
    first, second = pairs(2)
    world.push([first, second])
    taken = {task_id: world.server.sheets.pop(task_id) for task_id in (1, 2)}
    assert world.push([first, second]).again == 2
    world.server.sheets.update(taken)  # restored from a later backup
    world.server.answer(1)
    assert world.push([first, second]).doubles == 1
    assert sorted(world.server.sheets) == [1, 3, 4]
    assert 1 in {task.task_id for task in world.log.tasks(question_ids=[first.question_id], states={"pushed"})}


def test_a_pull_that_saw_a_loss_first_leaves_no_id_in_the_way(world: World) -> None:
    (question,) = pairs(1)
    world.push([question])
    world.log.change_tasks([replace(world.task_of(question), state="lost")])
    world.server.delete_task(1)
    world.server._next_task = 1
    assert world.push([question]).again == 1
    assert [(task.state, task.task_id) for task in world.log.tasks()] == [("lost", None), ("pushed", 1)]


def test_a_project_whose_config_was_edited_takes_nothing_more(world: World) -> None:
    world.push(pairs(1))
    world.server.papers[1] = replace(world.server.papers[1], label_config="<View/>")
    world.push(pairs(2))
    assert [task.project_id for task in world.server.sheets.values()] == [1, 2]
    assert "the labelling config of project 1 was edited; it takes no new questions, a new one is begun" in world.said
    assert {project.project_id: project.is_open for project in world.log.projects()} == {1: False, 2: True}


def test_plans_for_a_project_whose_config_was_edited_go_to_another(world: World) -> None:
    world.server.clockwork = Clockwork(at=2)  # projects, create_project, create_tasks
    with pytest.raises(Killed):
        world.push(pairs(2))
    world.server.clockwork = Clockwork()
    world.server.papers[1] = replace(world.server.papers[1], label_config="<View/>")
    world.push(pairs(2))
    assert {task.project_id for task in world.server.sheets.values()} == {2}
    assert world.server.asked() == ids(pairs(2))


def test_a_replacement_that_was_killed_is_made_up_for(tmp_path: Path) -> None:
    for at in range(7):
        world = World(tmp_path / str(at))
        world.push(pairs(3))
        world.server.clockwork = Clockwork(at=at)
        with pytest.raises(Killed):
            world.push(pairs(3, version="run 2"))
        world.server.clockwork = Clockwork()
        world.push(pairs(3, version="run 2"))
        assert {draft.model_version for one in world.server.filled_in.values() for draft in one} == {"run 2"}
        assert all("run 2" in str(task.data) for task in world.server.sheets.values())
        assert world.server.versions == {1: "run 2"}
        world.log.close()


def test_what_waits_on_a_server_that_is_no_more_is_asked_here_once_that_is_given_up(world: World) -> None:
    world.push(pairs(2))
    world.server = PaperServer("another")
    assert world.push(pairs(2)).known == 2
    assert world.server.asked() == []
    assert any("2 questions wait on paper" in line and "--forget paper" in line for line in world.said)
    assert give_up(world.log, "paper", now=NOON) == 2
    assert world.push(pairs(2)).again == 2
    assert world.server.asked() == ids(pairs(2))


def test_an_empty_project_whose_making_was_cut_short_is_taken_up_but_a_foreign_one_is_not(tmp_path: Path) -> None:
    ours = World(tmp_path / "ours")
    ours.server.clockwork = Clockwork(at=1, is_after=True)
    with pytest.raises(Killed):
        ours.push(pairs(1))
    ours.server.clockwork = Clockwork()
    ours.push(pairs(1))
    assert list(ours.server.papers) == [1]
    other = World(tmp_path / "other")  # another log, the same server
    other.server = ours.server
    other.push([pair("x", "y")])
    assert [task.project_id for task in ours.server.sheets.values()] == [1, 2]
    ours.log.close()
    other.log.close()


@given(st.data())
@settings(max_examples=15)
def test_however_often_pushes_fail_every_question_ends_as_one_task(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    world = World(tmp_path_factory.mktemp("world"), project_tasks=data.draw(st.integers(1, 4)), url="sqlite://")
    questions = [*pairs(5), grid("a", ["b"], rank=5), whose("p", ["q", "r"], rank=6)]
    for _ in range(data.draw(st.integers(0, 5))):
        error = data.draw(st.sampled_from([Killed(), ServerAway("away")]))
        at, is_after = data.draw(st.integers(0, 14)), data.draw(st.booleans())
        world.server.clockwork = Clockwork(at=at, error=error, is_after=is_after)
        version = data.draw(st.sampled_from(["run 1", "run 2"]))
        some = data.draw(st.permutations(questions))[: data.draw(st.integers(0, 7))]
        with suppress(Killed, ServerAway):
            world.push([replace(question, model_version=version) for question in some])
    world.server.clockwork = Clockwork()
    world.push(questions)
    world.push(questions)
    assert world.server.asked() == ids(questions)
    assert {task.state for task in world.log.tasks()} == {"pushed"}
    assert world.shelf.held() == set(ids(questions))
    world.log.close()

"""push: each question is one task, the best first, with its pictures and what the machine suggests."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from facereview.asking.making import BLOCK
from facereview.asking.projects import key_in
from facereview.asking.push import PushParams
from facereview.kinds import SamePersonAnswer, ask, subject_of
from facestore.errors import ConfigError

from .paper_server import grid, pair, pairs, whose
from .push_world import World, ids


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.log.close()


def test_every_question_is_one_task_in_small_projects_that_carry_our_key(world: World) -> None:
    questions = pairs(7)
    assert world.push(questions).new == 7
    assert world.server.asked() == ids(questions)
    assert [project.title for project in world.server.papers.values()] == [
        f"Same person? {number} · 2026-05-01" for number in (1, 2, 3)
    ]
    projects = sorted(world.log.projects(), key=lambda project: project.project_id)
    assert [key_in(found.description) for found in world.server.papers.values()] == [found.key for found in projects]
    assert [sum(task.project_id == number for task in world.server.sheets.values()) for number in (1, 2, 3)] == [
        3,
        3,
        1,
    ]
    assert [project.is_open for project in projects] == [False, False, True]
    assert world.connected == [1, 2, 3]
    for task in world.log.tasks():
        assert task.state == "pushed"
        assert task.task_id is not None
        assert world.server.sheets[task.task_id].question_id == task.question_id


def test_the_second_push_makes_nothing_and_changes_nothing(world: World) -> None:
    questions = [*pairs(4), grid("a", ["b", "c"], rank=4), whose("p", ["q", "r"], rank=5)]
    world.push(questions)
    before = dict(world.server.sheets), world.log.tasks(), world.log.projects()
    assert world.push(reversed(questions)).known == 6
    assert (dict(world.server.sheets), world.log.tasks(), world.log.projects()) == before


def test_kinds_and_quorums_have_projects_of_their_own(world: World) -> None:
    world.push([pair("a", "b"), pair("c", "d", needs=2, rank=1), grid("e", ["f"], rank=2)])
    found = {(project.kind, project.round, project.overlap) for project in world.log.projects()}
    assert found == {("same_person", 1, 1), ("same_person", 1, 2), ("odd_ones_out", 1, 1)}
    assert sorted(world.server.overlaps.values()) == [1, 1, 2]


def test_pictures_lie_on_the_shelf_where_the_data_says(world: World) -> None:
    question = pair("a", "b")
    world.push([question])
    (task,) = world.server.sheets.values()
    held = sorted(path.relative_to(world.shelf.root).as_posix() for path in world.shelf.folder.rglob("*.jpg"))
    assert len(held) == 4
    assert all(f"?d={name}" in str(task.data) for name in held)
    assert world.shelf.held() == {question.question_id}


def test_the_right_answer_of_a_honeypot_never_leaves_and_neither_do_face_ids(world: World) -> None:
    plain = pair("secret-left", "secret-right", chance=0.9)
    honeypot = ask(
        subject_of(plain), subset="s", reason=plain.reason, model_version="run 1", chance=0.9, gain=1.0, seconds=4.0,
        expected=SamePersonAnswer(verdict="different"),
    )  # fmt: skip
    world.push([honeypot])
    (task,) = world.server.sheets.values()
    project = world.server.papers[task.project_id]
    sent = f"{task.data} {world.server.filled_in[task.task_id]} {project.title} {project.description}"
    assert "different" not in sent
    assert "secret" not in sent
    assert "honeypot" not in sent


def test_the_backlog_bounds_what_is_open_and_the_best_come_first(tmp_path: Path) -> None:
    world = World(tmp_path, backlog=2)
    questions = pairs(5)
    pushed = world.push(reversed(questions))
    assert (pushed.new, pushed.waiting, pushed.open) == (2, 3, 2)
    assert world.server.asked() == ids(questions[:2])
    world.server.answer(1)  # seen on the server before it is pulled
    assert world.push(questions).new == 1
    assert world.server.asked() == ids(questions[:3])
    world.log.close()


def test_questions_whose_pictures_are_gone_are_refused_and_hold_up_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, backlog=2)
    questions = pairs(BLOCK + 2)
    world.pictures.gone = {f"f{2 * rank:04d}" for rank in range(BLOCK)}
    pushed = world.push(questions)
    assert (pushed.new, dict(pushed.refused)) == (2, {"picture_gone": BLOCK})
    assert world.server.asked() == ids(questions[BLOCK:])
    world.log.close()


def test_a_subject_that_cannot_be_read_is_refused(world: World) -> None:
    broken = replace(pairs(1)[0], subject='{"left": 1}', question_id="0" * 32)
    assert dict(world.push([broken, *pairs(2)]).refused) == {"unreadable": 1}
    assert world.server.asked() == ids(pairs(2))


def test_the_same_two_groups_are_asked_about_once_while_that_is_open(world: World) -> None:
    first, second, other = pair("a1", "b1"), pair("b2", "a2", rank=1), pair("a1", "c1", rank=2)
    inside = [pair("a1", "a3", rank=3), pair("a2", "a4", rank=4)]
    world.groups = {face: face[0] for face in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")}
    pushed = world.push([second, first, other, *inside])
    assert (pushed.new, pushed.twins) == (4, 1)
    assert world.server.asked() == ids([first, other, *inside])
    world.pulled(first, "settled")
    assert world.push([second]).new == 1


@pytest.mark.parametrize("changes", [{"project_tasks": 0}, {"backlog": -1}, {"max_rounds": 0}])
def test_params_outside_their_range_are_refused(changes: Mapping[str, int]) -> None:
    with pytest.raises(ConfigError, match="correct the params"):
        PushParams(**{"project_tasks": 1, "backlog": 1, "max_rounds": 1, **changes})

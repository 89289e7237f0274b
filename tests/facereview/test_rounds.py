"""Rounds: what does not settle is asked again; a newer run replaces what is filled in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .paper_server import pair, pairs, whose
from .push_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.log.close()


def test_a_newer_run_replaces_what_is_filled_in_and_faces_keep_their_places(world: World) -> None:
    old = [whose("p", ["q", "r"]), pair("a", "b", rank=1), pair("c", "d", rank=2)]
    world.push(old)
    answered = world.task_of(old[2]).task_id
    assert answered is not None
    world.server.answer(answered)
    new = [whose("p", ["r", "q"], version="run 2"), pair("a", "b", rank=1, version="run 2", chance=0.2)]
    new.append(pair("c", "d", rank=2, version="run 2", chance=0.2))
    before = world.log.questions([old[0].question_id])
    assert world.push(new).refreshed == 2
    task = world.task_of(old[1])
    assert task.task_id is not None
    (filled_in,) = world.server.filled_in[task.task_id]
    assert (filled_in.model_version, filled_in.score) == ("run 2", 0.2)
    assert "run 2" in str(world.server.sheets[task.task_id].data)
    assert [one.subject for one in world.log.questions([old[0].question_id])] == [one.subject for one in before]
    assert "run 1" in str(world.server.sheets[answered].data)
    assert set(world.server.versions.values()) == {"run 2"}
    assert world.push(new).refreshed == 0


def test_answers_that_do_not_settle_bring_further_rounds_and_then_somebody_who_decides(world: World) -> None:
    (question,) = pairs(1)
    world.push([question])
    assert world.push([question]).further == 0
    world.pulled(question, "unsettled")
    assert world.push([question]).further == 1
    assert world.push([question]).further == 0  # the second annotator has not answered yet
    world.pulled(question, "disputed", annotator="paper/2")
    assert world.push([question]).further == 1
    assert [task.round for task in world.log.tasks()] == [1, 2, 3]
    assert [project.title for project in world.server.papers.values()] == [
        "Same person? 1 · 2026-05-01",
        "Same person? 1, round 2 · 2026-05-01",
        "To decide: Same person? 1 · 2026-05-01",
    ]
    world.pulled(question, "disputed", annotator="paper/3")
    assert world.push([question]).further == 0


def test_a_quorum_waits_for_its_annotators_before_another_round(world: World) -> None:
    question = pair("a", "b", needs=2)
    world.push([question])
    world.pulled(question, "unsettled")
    assert world.push([question]).further == 0
    world.pulled(question, "disputed", annotator="paper/2")
    assert world.push([question]).further == 1
